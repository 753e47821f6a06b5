"""Rows of full ranking: every user's held-out item among all items, beside RecBole and a hand-written loop."""

import argparse
from statistics import median

from floor import floor_evaluation
from ours import DIM, SOURCE, made, our_evaluation, quiet_trainer
from rival import recbole
from timing import Row, divided, timed

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.neumf import NeuMF
from lightning_vq.data.splits import DEV

TARGET = 10
DEFAULT = 4096  # scores in a batch of RecBole: two users of ml-100k


def row(what: str, ours: list[float], rival: list[float], floor: list[float]) -> Row:
    return Row(f"Full ranking, {what}", "ms", ours, rival, floor, divided(rival, ours), "x RecBole", TARGET)


def ranking(o: argparse.Namespace) -> list[Row]:
    """Return milliseconds for an inner-product model: our evaluation alone, and all of trainer.validate."""
    module, data = made(BPRMF(DIM), SOURCE, 2048)
    trainer = quiet_trainer()
    users, positives = data.parts[DEV]
    [batch] = data.val_dataloader()
    assert batch.seen is not None
    mask = batch.seen
    hidden, keys, bias = (module.tables[n].detach() for n in ("user", "item", "item_bias"))
    ours, whole, floor = [], [], []
    default: list[float] = []
    tuned: list[float] = []
    for _ in range(o.repeats):
        ours.append(1e3 * timed(lambda: our_evaluation(module, data), 20))
        if o.recbole:
            for rival, size in ((default, DEFAULT), (tuned, 1 << 21)):
                rival.append(1e3 * median(recbole(o, "BPR", 2048, 1, evaluations=5, eval_batch=size)["evaluate"]))
        floor.append(1e3 * timed(lambda: floor_evaluation(hidden[users], keys, bias[:, 0], mask, positives), 20))
        whole.append(1e3 * timed(lambda: trainer.validate(module, datamodule=data, verbose=False), 5))
    return [
        row(f"{len(users)} users, evaluation loop; RecBole as it comes", ours, default, floor),
        row(f"{len(users)} users, trainer.validate; RecBole as it comes", whole, default, floor),
        row(f"{len(users)} users, evaluation loop; RecBole in one batch", ours, tuned, floor),
    ]


def pair_ranking(o: argparse.Namespace) -> Row:
    """Return milliseconds for a pair scorer, which cannot rank by one product: NeuMF."""
    module, data = made(NeuMF(DIM), SOURCE, 2048, "bce")
    ours, default = [], []
    for _ in range(o.repeats):
        ours.append(1e3 * timed(lambda: our_evaluation(module, data), 5))
        if o.recbole:
            default.append(1e3 * median(recbole(o, "NeuMF", 2048, 1, evaluations=3, eval_batch=DEFAULT)["evaluate"]))
    users = len(data.parts[DEV][0])
    return row(f"NeuMF, {users} users, evaluation loop; RecBole as it comes", ours, default, [])
