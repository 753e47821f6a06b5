"""Our side of the contest of lists: models of RecBole's sizes, an epoch of Trainer.fit, and the memory of one.

    python ours_lists.py --source FOLDER --model SASRec --epochs 1

trains in a process that does nothing else and prints its memory (memory.py) as JSON.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from lightning.pytorch import LightningModule
from memory import Watch
from ours import DIM, SOURCE, EpochClock, quiet_trainer
from timing import intervals
from torch import Tensor

from lightning_vq.backbones.list_completion.bert4rec import BERT4Rec
from lightning_vq.backbones.list_completion.gru4rec import GRU4Rec
from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.backbones.lists import ListBackbone
from lightning_vq.data.lists import ListData
from lightning_vq.lookup import Lookup
from lightning_vq.modules import ListCompletion
from lightning_vq.modules.base import Recommender
from lightning_vq.types import Output

LENGTH = 50  # items of a history that are shown
SHOWN = LENGTH + 3  # of each user: with the last of training, that of dev and that of test to be predicted
LISTS = 50  # of a step: some 2,055 positions
MASKED = 0.2  # share of a list that BERT4Rec hides, RecBole's default
MODELS: dict[str, Callable[[], ListBackbone]] = {  # the sizes in rival_recbole.py
    "SASRec": partial(SASRec, DIM, layers=2, heads=2, dropout=0.2),
    "GRU4Rec": partial(GRU4Rec, DIM, layers=2, dropout=0.2, tied=True),
    "BERT4Rec": partial(
        BERT4Rec, DIM, layers=2, heads=2, dropout=0.2, mask_probability=MASKED, last_probability=0.0
    ),
}  # fmt: skip


class PositionClock(EpochClock):
    """Notes when epochs start, and how many positions each predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: list[int] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self.positions.append(0)

    def losses(self, module: Recommender, look: Lookup, output: Output) -> dict[str, Tensor]:
        assert output.targets is not None
        self.positions[-1] += len(output.targets)
        return {}


def write_latest(folder: Path) -> Path:
    """Write the last interactions of each user of ml-100k as RecBole's file, which both sides read.

    Of that many RecBole makes a sample for each position that we learn, with the same history before it.
    """
    data = ListData(SOURCE, protocol="next")
    data.prepare_data()
    data.setup()
    raw = data.raw
    assert raw is not None
    path = folder / "latest" / "latest.inter"
    path.parent.mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float\n"]
    users, items = raw.list_ids.to_pylist(), raw.item_ids.to_pylist()
    for user, begin, end in zip(users, raw.starts[:-1], raw.starts[1:]):
        rows = range(max(begin, end - SHOWN), end)
        lines += [f"{user}\t{items[raw.items[row]]}\t{row - begin}\n" for row in rows]
    path.write_text("".join(lines))
    return path


def made(model: str, source: Path, negatives: int = 0) -> tuple[ListCompletion, ListData]:
    """Return a built module and its data; in evaluation the held-out item meets so many sampled ones, and all."""
    torch.manual_seed(0)
    columns = {"timestamp": "timestamp"}
    data = ListData(
        str(source), columns=columns, protocol="next", max_length=LENGTH, batch_size=LISTS, eval_negatives=negatives,
        seed=0,
    )  # fmt: skip
    data.setup()
    module = ListCompletion(MODELS[model](), ks=(10,))
    module.build(data.facts())
    return module, data


def our_epoch(module: ListCompletion, data: ListData, epochs: int) -> tuple[float, float]:
    """Return the mean number of positions of a training epoch of Trainer.fit, and its median seconds."""
    clock = PositionClock()
    quiet_trainer(clock, max_epochs=epochs + 2, limit_val_batches=0).fit(module, datamodule=data)
    return mean(clock.positions[1:-1]), intervals(clock.starts)


def our_memory(o: argparse.Namespace, model: str) -> dict[str, float]:
    """Return what a process of its own says of its memory."""
    numbers = {"epochs": o.epochs, "threads": o.threads}
    command = [sys.executable, __file__, f"--source={o.inter.parent}", f"--model={model}"]
    command += [f"--{name}={value}" for name, value in numbers.items()]
    errors = None if o.verbose else subprocess.DEVNULL
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=errors)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of RecBole's file")
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    watch = Watch()
    module, data = made(o.model, o.source)
    watch.training()
    our_epoch(module, data, o.epochs)
    print(json.dumps(watch.told()))


if __name__ == "__main__":
    main()
