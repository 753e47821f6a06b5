"""A small table of two models on the planted world, and the command that reproduces it, for its tests."""

import csv
from pathlib import Path
from typing import Any

import yaml
from command import done

LR = {"model.init_args.lr": {"low": 1e-3, "high": 1e-2, "log": True}}
SIZES = {f"quantization.quantizers.{v}.init_args.codebook_sizes": [12, 4] for v in ("user", "item")}
TABLE: dict[str, Any] = {
    "title": "A small table",
    "columns": {"N@10": "test/ndcg@10/full", "seconds": "test_seconds"},
    "budgets": {"small": {"trials": 2, "fixed": {"trainer.max_epochs": 2}}, "paper": {"trials": 9}},
    "seeds": 2,
    "sweep": {
        "objectives": {"val/ndcg@10/full": "maximize"},
        "fixed": {"data.init_args.planted": {"users": 150, "items": 90, "branching": [4, 3], "mean_length": 12}},
    },
    "rows": [
        {"name": "Base", "source": "planted", "base": ["conf/bprmf.yaml"], "space": LR, "paper": {"N@10": 0.1}},
        {"name": "Quantized", "source": "planted", "base": ["conf/cove_bprmf.yaml"], "fixed": SIZES, "space": LR,
         "over": "Base", "paper": {"N@10": 0.11}},
        {"name": "Base, refitted", "source": "planted", "refit_of": "Base"},
        {"name": "Fixed", "source": "planted", "base": ["conf/gmf.yaml"], "note": "nobody tuned it",
         "seeds": 1},
        {"name": "Elsewhere", "get": "ask its owner", "paper": {"N@10": 0.5}},
        {"name": "Absent", "source": "ml-1m", "base": ["conf/bprmf.yaml"],
         "fixed": {"data.init_args.root": "nowhere"}},
    ],
}  # fmt: skip


def reproduce(root: Path, *options: str, expect: int = 0, table: dict[str, Any] = TABLE) -> str:
    """Run the verb on a table in this process, but for its fits; return what it prints."""
    (root / "small.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    return done("reproduce", str(root / "small.yaml"), "--out", str(root / "out"), *options, expect=expect)


def table(root: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (root / "out/small/small/table.csv").open() as file:
        return {(row["row"], row["column"]): row for row in csv.DictReader(file)}
