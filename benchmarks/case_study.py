"""DQRec's figure 4 from real users: what two users watched last, by category, beside their semantic ids.

    python benchmarks/case_study.py RUN [--out docs/dqrec_case.png]

RUN is a chain's second run, 2_patterns, beside the first one whose vectors it codes. Nothing is chosen by eye. Among
users who have met as many items as a sequence holds, left: of all pairs that share half of their codes or more, the one
with the fewest last items in common. Right: of all pairs that share no code, the one with the most. Below, for all
users: how alike mixes of categories are (cosine), of nearest neighbours, of pairs with as many items in common drawn at
random, and of any pairs.
"""

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
import torch

from lightning_vq.data import TimedData
from lightning_vq.data.base import category_rows
from lightning_vq.data.splits import TRAIN
from lightning_vq.runs import read_yaml

PAIRS = 20_000  # of each kind that the means are over


def read(run: Path) -> TimedData:
    vectors = Path(read_yaml(run / "config.yaml")["data"]["init_args"]["vectors"])
    options: dict[str, Any] = read_yaml(vectors / "config.yaml")["data"]["init_args"]
    kept = ("source", "root", "columns", "min_rating", "duplicates", "min_user", "min_item", "split", "ratio", "recent")
    data = TimedData(**{key: options[key] for key in (*kept, "eval_seed")})
    data.setup()
    return data


def last_items(data: TimedData) -> torch.Tensor:
    """Return whether each item is among the last of each user (U, N), 0 or 1."""
    line = data.timelines[TRAIN]["user"]
    recent = line.recent(line.now, data.recent).long()
    table = torch.zeros(data.user_count, data.item_count + 1)
    table.scatter_(1, torch.where(recent < 0, data.item_count, recent), 1.0)
    return table[:, :-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/dqrec_case.png"))
    o = parser.parse_args()
    data = read(o.run)
    assert data.raw is not None
    names, rows = category_rows(data.raw.item_metadata)
    kinds = torch.zeros(data.item_count, len(names) + 1)
    kinds.scatter_(1, torch.where(rows < 0, len(names), rows), 1.0)
    last = last_items(data)
    mixes = last @ kinds[:, :-1]  # (U, G)
    mixes /= mixes.norm(dim=1, keepdim=True).clamp_min(1e-9)
    common = (last @ last.T).fill_diagonal_(-1)  # (U, U)
    codes = torch.tensor(pq.read_table(o.run / "semantic_ids" / "user.parquet")["codes"].to_pylist())
    agree = sum((column[:, None] == column).int() for column in codes.unbind(1))
    ids = data.raw.user_ids.to_pylist()
    place = {user: row for row, user in enumerate(ids)}
    near = torch.tensor(
        [place[one[0]] for one in pq.read_table(o.run / "links" / "user.parquet")["neighbours"].to_pylist()]
    )
    full = last.sum(1) == data.recent
    asked = full[:, None] & full & ~torch.eye(len(ids), dtype=torch.bool)
    like, apart = asked & (2 * agree >= codes.shape[1]), asked & (agree == 0)
    left = divmod(int(torch.where(like, common, torch.inf).argmin()), len(ids))
    right = divmod(int(torch.where(apart, common, -1).argmax()), len(ids))
    likeness = compared(mixes, common, near)
    draw(o.out, [left, right], ids, codes, common, mixes, names, likeness)
    for kind, value in likeness.items():
        print(f"{kind:40} {value:.4f}")
    print(f"Written: {o.out}")


def compared(mixes: torch.Tensor, common: torch.Tensor, near: torch.Tensor) -> dict[str, float]:
    """Return the mean cosine of mixes of categories, of several kinds of pairs."""
    rng = torch.Generator().manual_seed(0)
    one = torch.randint(len(near), (PAIRS,), generator=rng)
    alike: list[float] = []
    for user in one[:2000].tolist():  # a pair with as many items in common as it has with its neighbour
        same = (common[user] == common[user, near[user]]).nonzero()[:, 0]
        other = same[torch.randint(len(same), (1,), generator=rng)]
        alike.append(float(mixes[user] @ mixes[other[0]]))
    others = torch.randint(len(near), (PAIRS,), generator=rng)
    return {
        "nearest neighbours by pattern": float((mixes * mixes[near]).sum(1).mean()),
        "as many items in common, at random": float(np.mean(alike)),
        "any pairs": float((mixes[one] * mixes[others]).sum(1).mean()),
    }


def draw(
    out: Path,
    pairs: list[tuple[int, int]],
    ids: list[Any],
    codes: torch.Tensor,
    common: torch.Tensor,
    mixes: torch.Tensor,
    names: list[str],
    likeness: dict[str, float],
) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(12, 5), sharey=True)
    titles = ("Half of the codes in common, and the fewest items", "No code in common, and the most items")
    for axis, title, pair in zip(axes, titles, pairs):
        for place, user in enumerate(pair):
            share = (mixes[user] / mixes[user].sum()).numpy()
            at = np.arange(len(names)) + (place - 0.5) * 0.4
            axis.barh(at, share, 0.4, label=f"user {ids[user]}: semantic id {tuple(codes[user].tolist())}")
        axis.set(yticks=range(len(names)), yticklabels=names, xlabel="share of the last items' categories")
        axis.set_title(f"{title}: {int(common[pair])} of them", fontsize=10)
        axis.legend(loc="lower right", fontsize=8)
    axes[0].invert_yaxis()
    told = "; ".join(f"{kind} {value:.3f}" for kind, value in likeness.items())
    figure.text(0.5, 0.01, f"Mean cosine of mixes of categories: {told}", ha="center", fontsize=9)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
