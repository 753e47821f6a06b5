"""Times RecBole 1.2.1's own Trainer for click-through rate; run by clicks.py in RecBole's environment (see README.md).

    python rival_clicks.py --inter FOLDER/NAME/NAME.inter --model DCN --batch 5000 --epochs 5 --out times.json

Writes JSON: `epochs` and `evaluate` in seconds each, `steps` those of an epoch, `rows` the training and held-out rows.
"""

import argparse
import json
import logging
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

MODELS: dict[str, dict[str, Any]] = {
    "DCN": {"mlp_hidden_size": [400, 400, 400], "cross_layer_num": 3, "dropout_prob": 0.1},
    "DeepFM": {"mlp_hidden_size": [400, 400, 400], "dropout_prob": 0.1},
}


def measure(o: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of each training epoch but the first, start to start, and of each evaluation but the first."""
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(o.threads)
    changes = {
        "data_path": str(o.inter.parent.parent), "use_gpu": False, "gpu_id": "", "show_progress": False,
        "state": "ERROR", "checkpoint_dir": str(o.inter.parent.parent / "saved"), "worker": 0,
        "load_col": {"inter": ["user_id", "item_id", "label"]},
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": None, "mode": "labeled"},
        "train_neg_sample_args": None, "embedding_size": 64, "train_batch_size": o.batch, "eval_batch_size": 20_000,
        "epochs": o.epochs + 2, "eval_step": 0, "metrics": ["AUC", "LogLoss"], "valid_metric": "AUC",
        **MODELS[o.model],
    }  # fmt: skip
    config = Config(model=o.model, dataset=o.inter.stem, config_dict=changes)
    init_seed(config["seed"], config["reproducibility"])
    train, valid, _ = data_preparation(config, create_dataset(config))
    network = get_model(o.model)(config, train._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], o.model)(config, network)
    starts: list[float] = []
    one_epoch = trainer._train_epoch

    def timed_epoch(*args: Any, **options: Any) -> Any:
        starts.append(time.perf_counter())
        return one_epoch(*args, **options)

    trainer._train_epoch = timed_epoch
    trainer.fit(train, valid_data=None, verbose=False, saved=False)
    passes = []
    for _ in range(6):
        start = time.perf_counter()
        trainer.evaluate(valid, load_best_model=False)
        passes.append(time.perf_counter() - start)
    return {
        "steps": len(train), "rows": [len(train._dataset), len(valid._dataset)],
        "epochs": [b - a for a, b in pairwise(starts[1:])], "evaluate": passes[1:],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inter", type=Path, required=True)
    parser.add_argument("--model", required=True, choices=list(MODELS))
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    o = parser.parse_args()
    del sys.argv[1:]  # RecBole would read them as its own options
    os.chdir(o.inter.parent.parent)  # RecBole writes its logs into the current folder
    o.out.write_text(json.dumps(measure(o)))


if __name__ == "__main__":
    main()
