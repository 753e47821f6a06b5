"""Rows of training speed: Trainer.fit beside RecBole's trainer.fit and a hand-written loop, the same model in each."""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import NamedTuple

import torch
from floor import Floor, bprmf, floor_epoch, lightgcn, neumf, ngcf
from ours import DIM, SOURCE, made, our_epoch
from rival import recbole
from timing import Row, divided

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.cfkg import CFKG
from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.backbones.collaborative.neumf import NeuMF
from lightning_vq.backbones.collaborative.ngcf import NGCF
from lightning_vq.backbones.graph import GraphBackbone
from lightning_vq.data.splits import TRAIN
from lightning_vq.modules.collaborative import Loss


class Contest(NamedTuple):
    """A model as both train it."""

    backbone: Callable[[], Backbone]
    loss: Loss
    rival: str  # RecBole's name of the model
    unit: str  # of speed: samples are observed rows, whatever is drawn or scored beside them
    floor: Callable[[tuple[int, int], torch.Tensor | None], Floor] | None  # of (U, N) and the adjacency


CONTESTS = {
    "BPRMF": Contest(partial(BPRMF, DIM), "bpr", "BPR", "samples/s", partial(bprmf, DIM)),
    "LightGCN": Contest(partial(LightGCN, DIM), "bpr", "LightGCN", "steps/s", partial(lightgcn, DIM)),
    "NeuMF": Contest(partial(NeuMF, DIM), "bce", "NeuMF", "samples/s", partial(neumf, DIM)),
    "NGCF": Contest(partial(NGCF, DIM), "bpr", "NGCF", "steps/s", partial(ngcf, DIM)),
    "CFKG": Contest(partial(CFKG, DIM), "margin", "CFKG", "samples/s", None),
}


def training(model: str, batch: int, target: float, o: argparse.Namespace) -> Row:
    """Return training speed of a model by its observed rows: interactions, and for CFKG triples of the graph too."""
    contest = CONTESTS[model]
    ours, rival, floor = [], [], []
    for _ in range(o.repeats):
        backbone = contest.backbone()
        module, data = made(backbone, SOURCE, batch, contest.loss)
        users, items = data.parts[TRAIN]
        triples = len(data.graph().heads) - len(users) if "triples" in backbone.needs else 0
        rows = len(users) + triples
        work = -(-rows // batch) if contest.unit == "steps/s" else rows
        ours.append(work / our_epoch(module, data, o.epochs))
        if o.recbole:
            theirs = recbole(o, contest.rival, batch, o.epochs)
            found = (theirs["rows"], theirs["triples"], len(theirs["epochs"]))
            assert found == (len(users), triples, o.epochs), theirs
            assert theirs["steps"] == -(-len(users) // batch), theirs
            rival.append(work / median(theirs["epochs"]))
        if contest.floor is not None:
            graph = backbone._adjacency if isinstance(backbone, GraphBackbone) else None
            parts = contest.floor((data.user_count, data.item_count), graph)
            floor.append(work / floor_epoch(users, items, parts, batch, o.epochs))
    name = f"{model} training, batch {batch}"
    return Row(name, contest.unit, ours, rival, floor, divided(ours, rival), "x RecBole", target)
