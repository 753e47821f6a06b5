"""Times RecBole 1.2.1's own Trainer on an atomic file; run by rival.py in RecBole's environment (see README.md).

    python rival_recbole.py --inter FOLDER/NAME/NAME.inter --model BPR --batch 2048 --epochs 5 --out times.json

Writes JSON: `epochs` and `evaluate` in seconds each, `rows` the training interactions (of sequences the samples, each a
history and what came next), `triples` those of the knowledge graph beside them, `steps` those of an epoch, `predicted`
the positions that BERT4Rec fills in each epoch, `users` the evaluated users, `items` all, `memory` as in memory.py.
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

import recbole
import torch
from memory import Watch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

RANKERS: dict[str, dict[str, Any]] = {  # what differs from RecBole's defaults, by model
    "BPR": {},
    "LightGCN": {"n_layers": 3},
    "NeuMF": {"mf_embedding_size": 64, "mlp_embedding_size": 64, "mlp_hidden_size": [64], "dropout_prob": 0.2},
    "NGCF": {"hidden_size_list": [64, 64, 64], "message_dropout": 0.1, "node_dropout": 0.0},
    "CFKG": {"loss_function": "transe", "margin": 1.0},
}
CLICKS: dict[str, dict[str, Any]] = {
    "DCN": {"mlp_hidden_size": [400, 400, 400], "cross_layer_num": 3, "dropout_prob": 0.1},
    "DeepFM": {"mlp_hidden_size": [400, 400, 400], "dropout_prob": 0.1},
}
ATTENTION = {"n_layers": 2, "n_heads": 2, "hidden_size": 64, "hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2}
SEQUENTIAL: dict[str, dict[str, Any]] = {  # the sizes in ours_lists.py
    "SASRec": ATTENTION | {"inner_size": 64, "hidden_act": "relu"},
    "GRU4Rec": {"hidden_size": 64, "num_layers": 2, "dropout_prob": 0.2},
    "BERT4Rec": ATTENTION | {"inner_size": 256, "mask_ratio": 0.2, "ft_ratio": 0.0},
}
SIZES = RANKERS | SEQUENTIAL
GRAPH = {"kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}


def settings(
    inter: Path,
    model: str,
    batch: int,
    epochs: int,
    eval_batch: int,
    mode: str = "full",
    sizes: dict[str, dict[str, Any]] = SIZES,
) -> dict[str, Any]:
    """Return what differs from RecBole's defaults: the data, its split, the sizes, and no side output.

    Args:
        inter: the interactions, or samples with a label.
        model: name of it.
        batch: observed interactions of a step. NeuMF's negatives are rows of their own, which RecBole counts too.
        epochs: of training.
        eval_batch: scores of a step of evaluation.
        mode: what a held-out item is ranked among, "full" or "uni99".
        sizes: of models that rank.
    """
    common = {
        "data_path": str(inter.parent.parent), "use_gpu": False, "gpu_id": "", "show_progress": False,
        "state": "ERROR", "checkpoint_dir": str(inter.parent.parent / "saved"), "worker": 0,
        "train_batch_size": batch * (2 if model == "NeuMF" else 1), "eval_batch_size": eval_batch,
        "embedding_size": 64, "epochs": epochs, "eval_step": 0,
    }  # fmt: skip
    if model in CLICKS:
        kind: dict[str, Any] = {
            "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": None, "mode": "labeled"},
            "load_col": None, "train_neg_sample_args": None, "metrics": ["AUC", "LogLoss"], "valid_metric": "AUC",
        }  # fmt: skip
        return common | kind | CLICKS[model]
    ranked = {"metrics": ["Hit", "NDCG"], "topk": [10], "valid_metric": "NDCG@10"}
    split = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": mode}
    if model not in RANKERS:
        kind = {
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "eval_args": split, "loss_type": "CE",
            "train_neg_sample_args": None, "MAX_ITEM_LIST_LENGTH": 50,
        }  # fmt: skip
        return common | kind | ranked | sizes[model]
    kind = {
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], **(GRAPH if model == "CFKG" else {})},
        "eval_args": split,
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1},
    }  # fmt: skip
    return common | kind | ranked | sizes[model]


def measure(o: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of each training epoch but the first, start to start, and of each evaluation but the first.

    With no epochs to be timed there is none at all.
    """
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(o.threads)
    watch = Watch()
    changes = settings(o.inter, o.model, o.batch, o.epochs + 2 if o.epochs else 0, o.eval_batch, o.mode)
    config = Config(model=o.model, dataset=o.inter.stem, config_dict=changes)
    init_seed(config["seed"], config["reproducibility"])
    train, valid, _ = data_preparation(config, dataset := create_dataset(config))
    network = get_model(o.model)(config, train._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], o.model)(config, network)
    starts: list[float] = []
    predicted: list[int] = []
    one_epoch, one_loss = trainer._train_epoch, network.calculate_loss

    def timed_epoch(*args: Any, **options: Any) -> Any:
        starts.append(time.perf_counter())
        predicted.append(0)
        return one_epoch(*args, **options)

    def counted_loss(rows: Any) -> Any:
        predicted[-1] += int((rows[network.MASK_INDEX] > 0).sum())  # what the loss takes in: the others are padding
        return one_loss(rows)

    trainer._train_epoch = timed_epoch
    if o.model == "BERT4Rec":
        network.calculate_loss = counted_loss
    watch.training()
    trainer.fit(train, valid_data=None, verbose=False, saved=False)
    memory = watch.told()
    passes = []
    for _ in range(o.evaluations + 1):
        start = time.perf_counter()
        trainer.evaluate(valid, load_best_model=False)
        passes.append(time.perf_counter() - start)
    return {
        "version": recbole.__version__, "torch": torch.__version__, "rows": len(train._dataset),
        "steps": len(train), "triples": len(dataset.kg_feat) if o.model == "CFKG" else 0,
        "users": dataset.user_num - 1, "items": dataset.item_num - 1,
        "epochs": [b - a for a, b in pairwise(starts[1:])], "predicted": predicted[1:-1], "evaluate": passes[1:],
        "memory": memory,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inter", type=Path, required=True, help="NAME/NAME.inter; for CFKG .kg and .link beside it")
    parser.add_argument("--model", required=True, choices=[*RANKERS, *CLICKS, *SEQUENTIAL])
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=0)
    parser.add_argument("--eval-batch", type=int, default=4096, help="RecBole's default takes two users of ml-100k")
    parser.add_argument("--mode", default="full", choices=["full", "uni99"], help="of evaluation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    o = parser.parse_args()
    del sys.argv[1:]  # RecBole would read them as its own options
    os.chdir(o.inter.parent.parent)  # RecBole writes its logs into the current folder
    times = measure(o)
    o.out.write_text(json.dumps(times))


if __name__ == "__main__":
    main()
