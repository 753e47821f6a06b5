"""Scorers that learn nothing, beside which a model for click-through rate must stand: chance, and smoothed rates.

    python benchmarks/click_scorers.py RUN [RUN ...]

Each RUN is the folder of a finished fit, whose data is read and split as it was. The rate scorer adds, over categorical
fields, the share of clicks among a value's training rows, drawn towards the share of all by PRIOR rows; the random
scorer is a mean over SEEDS draws. Prints a Markdown table; nothing is trained.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from lightning_vq.click_metrics import auc, clicked_ranks, grouped_auc
from lightning_vq.data import ClickThroughData
from lightning_vq.data.splits import TEST, TRAIN
from lightning_vq.metrics import user_metrics
from lightning_vq.runs import read_json, read_yaml
from lightning_vq.sources.schema import Schema

PRIOR, SEEDS = 10, 5
KS = (1, 5, 10)


def data_of(run: Path) -> ClickThroughData:
    """Return the data of a run, set up."""
    told = read_yaml(run / "config.yaml")["data"]["init_args"]
    told["schema"] = None if told["schema"] is None else Schema(**told["schema"])
    told["ratio"] = tuple(told["ratio"])
    data = ClickThroughData(**told)
    data.setup()
    return data


def rates(data: ClickThroughData) -> Tensor:
    """Return the scores (E,) of test rows by the rates of training."""
    assert data.encoded is not None
    train, test = data.encoded.samples[TRAIN], data.encoded.samples[TEST]
    mean, scores = float(train.labels.mean()), torch.zeros(len(test.labels), dtype=torch.double)
    for mine, theirs in zip(train.fields.unbind(1), test.fields.unbind(1)):
        size = int(max(mine.max(), theirs.max())) + 1
        rows, clicks = (torch.bincount(mine, weights, size) for weights in (None, train.labels.double()))
        scores += ((clicks + PRIOR * mean) / (rows + PRIOR))[theirs]
    return scores


def measured(scores: Tensor, labels: Tensor, groups: Tensor | None) -> dict[str, float]:
    """Return AUC and, with groups (E,), what is measured within them."""
    found = {"auc": auc(scores, labels)}
    if groups is not None:
        found["gauc"] = grouped_auc(scores, labels, groups)
        _, of, ranks = clicked_ranks(scores, labels, groups)
        found |= {k: v.mean() for k, v in user_metrics(("ndcg", "hr"), KS, of, ranks, one_list=True).items()}
    return {name: float(value) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished fits")
    for run in parser.parse_args().runs:
        data = data_of(run)
        assert data.encoded is not None
        labels, grouped = data.encoded.samples[TEST].labels, data.encoded.samples[TEST].groups
        draws = [measured(torch.rand(len(labels), generator=torch.Generator().manual_seed(s)), labels, grouped)
                 for s in range(SEEDS)]  # fmt: skip
        rows = {
            "random": {name: sum(draw[name] for draw in draws) / SEEDS for name in draws[0]},
            "rates": measured(rates(data), labels, grouped),
        }
        told = read_json(run / "metrics.json")["test"]
        group = data.group()
        names = {name: f"test/{name}" + ("" if name == "auc" else f"/{group}") for name in rows["random"]}
        rows[run.name] = {name: told[full] for name, full in names.items() if full in told}
        print(f"\n{run}: {len(labels):,} test rows\n")
        print("| scorer | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
        for scorer, values in rows.items():
            print(f"| {scorer} | " + " | ".join(f"{values[n]:.4f}" if n in values else "" for n in names) + " |")


if __name__ == "__main__":
    main()
