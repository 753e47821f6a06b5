"""Rows of list completion beside RecBole: target positions learned a second, memory, passes of evaluation."""

import argparse
from functools import partial
from statistics import mean, median

from ours import quiet_trainer
from ours_lists import LENGTH, made, our_epoch, our_memory
from products import product_seconds
from rival import recbole
from timing import Row, divided, timed

from lightning_vq.data.splits import DEV, TRAIN

SAMPLES = 2048  # of RecBole's step, each a history that is encoded for the one position after it
QUARTER = 4


def training(model: str, target: float, o: argparse.Namespace) -> list[Row]:
    """Return positions learned a second, and the peak memory of both sides' processes.

    The floor is what the matrix products of our steps take alone. RecBole's time and memory are of one process; our
    memory is of another than our time.
    """
    ours, rival, floor = [], [], []
    memory: dict[str, tuple[list[float], list[float]]] = {"whole": ([], []), "training": ([], [])}
    for _ in range(o.repeats):
        module, data = made(model, o.inter.parent)
        train = data.parts[TRAIN]
        learned = int(train.known.sum())  # every item of a list but its first
        positions, seconds = our_epoch(module, data, o.epochs)
        assert model == "BERT4Rec" or positions == learned, (positions, learned)
        ours.append(positions / seconds)
        floor.append(positions / product_seconds(module, data.train_dataloader()))
        held = our_memory(o, model)
        for name, (of_ours, _) in memory.items():
            of_ours.append(held[name])
        if o.recbole:
            theirs = recbole(o, model, SAMPLES, o.epochs)
            found = (theirs["rows"], theirs["steps"], theirs["items"], len(theirs["epochs"]))
            assert found == (learned, len(data.train_dataloader()), len(data.counts), o.epochs), theirs
            filled = mean(theirs["predicted"]) if model == "BERT4Rec" else learned
            rival.append(filled / median(theirs["epochs"]))
            for name, (_, of_theirs) in memory.items():
                of_theirs.append(theirs["memory"][name])
    what = "filled holes" if model == "BERT4Rec" else "positions"
    name = f"{model} training, length {LENGTH}"
    rows = [Row(name, f"{what}/s", ours, rival, floor, divided(ours, rival), "x RecBole", target)]
    told = {"whole": f"{model}: peak memory of the process", "training": f"{model}: what training adds to memory"}
    for name, (of_ours, of_theirs) in memory.items():
        less = divided(of_theirs, of_ours)
        rows.append(Row(told[name], "MiB", of_ours, of_theirs, [], less, "x less than RecBole", QUARTER))
    return rows


def evaluation(o: argparse.Namespace) -> list[Row]:
    """Return seconds of validating SASRec: the held-out item of every user among 99 sampled ones, and among all.

    Ours ranks among all in both.
    """
    rows = []
    for negatives, mode, what in ((99, "uni99", "99 sampled"), (0, "full", "all")):
        module, data = made("SASRec", o.inter.parent, negatives)
        validate = partial(quiet_trainer().validate, module, datamodule=data, verbose=False)
        ours, rival = [], []
        for _ in range(o.repeats):
            ours.append(timed(validate, 5))
            if o.recbole:
                theirs = recbole(o, "SASRec", SAMPLES, 0, evaluations=2, mode=mode)
                assert theirs["users"] == len(data.parts[DEV].lengths), theirs
                rival.append(median(theirs["evaluate"]))
        name = f"SASRec, {len(data.parts[DEV].lengths)} users among {what}"
        if negatives:
            rows.append(Row(name, "s", ours, [], [], ours, "s", 0.5))
        rows.append(Row(f"{name}, beside RecBole", "s", ours, rival, [], divided(rival, ours), "x RecBole", 1))
    return rows
