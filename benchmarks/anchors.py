"""What scorers without training reach on DQRec's data, in its two protocols: anchors beside the rows of dqrec/table1.

    python benchmarks/anchors.py [--root ../shared/data] [--out anchors.csv]

Popularity counts training interactions. The cosine of two items, of the users that they have in training, is summed
over what the user had met last, T others as the towers of table 1 read them. All held-out interactions of the test, one
by one, in the batches of the rows.
"""

import argparse
import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from lightning_vq.data import TimedData
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.metrics import rank_alone

BLOCK, K, RECENT = 2000, 10, (1, 5, 50)
Scorer = Callable[[Tensor], Tensor]  # places (P,) of held-out interactions -> scores (P, N) of all items


def cosines(data: TimedData) -> Tensor:
    """Return the cosine (N, N) of items' users in training, 0 of an item with itself."""
    users, items = (of.numpy() for of in data.parts[TRAIN])
    met = sp.csr_matrix((np.ones(len(users), np.float32), (users, items)), (data.user_count, data.item_count))
    both = torch.from_numpy((met.T @ met).toarray())
    size = both.diagonal().clamp_min(1).sqrt()
    return (both / size[:, None] / size).fill_diagonal_(0)


def scorers(data: TimedData) -> dict[str, Scorer]:
    users, _ = data.parts[TEST]
    popular = torch.bincount(data.parts[TRAIN][1], minlength=data.item_count).float()
    near, line = cosines(data), data.timelines[TEST]["user"]

    def cosine(length: int) -> Scorer:
        def scored(cases: Tensor) -> Tensor:
            last = line.recent(line.before(users[cases], data.moments[TEST][cases]), length).long()
            return sum(near[one.clamp_min(0)] * (one >= 0)[:, None] for one in last.unbind(1))  # type: ignore[return-value]

        return scored

    found: dict[str, Scorer] = {"popularity": lambda cases: popular.expand(len(cases), -1)}
    return found | {f"cosine to the last {length}": cosine(length) for length in RECENT}


def measured(data: TimedData, score: Scorer) -> dict[str, float]:
    """Return recall and NDCG at 10, in the batch and among all items: means over held-out interactions."""
    users, items = data.parts[TEST]
    batches, ranks = data.evaluation.batches(TEST), dict[str, list[Tensor]]()
    for cases in torch.arange(len(users)).split(BLOCK):
        scores = score(cases)
        barred = scores.clone()
        barred[data.evaluation.touched(users[cases], (TRAIN, DEV, TEST))] = -torch.inf
        for where, among in (("batch", batches.holds[batches.of[cases]]), ("all", None)):
            ranks.setdefault(where, []).append(rank_alone(scores, barred, items[cases], among))
    found = {}
    for where, parts in ranks.items():
        rank = torch.cat(parts).double()
        found[f"{where} R@{K}"] = float((rank <= K).double().mean())
        found[f"{where} N@{K}"] = float(((rank <= K) / torch.log2(rank + 1)).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=os.environ.get("LIGHTNING_VQ_DATA"), help="folder of ml-1m")
    parser.add_argument("--out", type=Path)
    o = parser.parse_args()
    data = TimedData("ml-1m-liked", root=o.root, min_user=5, min_item=5)
    data.setup()
    rows = []
    for name, score in scorers(data).items():
        rows.append({"scorer": name, **measured(data, score)})
        print(name, *(f"{key} {value:.4f}" for key, value in rows[-1].items() if key != "scorer"), flush=True)
    if o.out:
        with o.out.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    main()
