"""Rows of list completion without a rival, on AotM's lists: decoding, and what COVE adds to an epoch."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from ours import quiet_trainer
from timing import Row, divided, timed
from torch import Tensor
from torch.nn.functional import pad

from lightning_vq.backbones.list_completion.bert4rec import BERT4Rec
from lightning_vq.backbones.list_completion.fans import FANS
from lightning_vq.backbones.list_completion.gru4rec import GRU4Rec
from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.backbones.lists import Autoregressive, ListBackbone
from lightning_vq.callbacks.quantization import QuantizationCallback
from lightning_vq.data.lists import ListData
from lightning_vq.data.splits import TEST
from lightning_vq.lookup import Lookup
from lightning_vq.modules import ListCompletion
from lightning_vq.quantizers import Cascaded
from lightning_vq.types import Lists

SOURCE = "aotm"
TURN = 4  # mini-batches that a model trains on before the other has them
BACKBONES: dict[str, Callable[[], ListBackbone]] = {  # as conf/*.yaml
    "BERT4Rec": partial(BERT4Rec, 64, layers=3, heads=8, dropout=0.1),
    "FANS": partial(FANS, 64, layers=3, heads=8, dropout=0.1, steps=5),
    "SASRec": partial(SASRec, 64, layers=2, heads=2, dropout=0.2),
    "GRU4Rec": partial(GRU4Rec, 64, layers=3, dropout=0.1),
}


class Anew(Autoregressive):
    """Another's predictions, for which the whole list is encoded again at every item: what keeping a state spares."""

    def __init__(self, backbone: Autoregressive) -> None:
        super().__init__(backbone.dim, backbone.tied, backbone.tokens)
        self.backbone = backbone

    def keys(self, look: Lookup, ids: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return self.backbone.keys(look, ids)

    def learned(self, look: Lookup, batch: Lists) -> tuple[Tensor, Tensor]:
        return self.backbone.learned(look, batch)

    def begin(self, look: Lookup, items: Tensor, creators: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.backbone.begin(look, items)[0], items

    def advance(self, look: Lookup, state: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        ends = (state >= 0).sum(1, keepdim=True)
        return self.begin(look, pad(state, (0, 1), value=-1).scatter(1, ends, items[:, None]))


def made(model: str, data: ListData) -> ListCompletion:
    """Return a model that is built and not trained."""
    torch.manual_seed(0)
    data.prepare_data()
    data.setup()
    module = ListCompletion(BACKBONES[model]())
    module.build(data.facts())
    return module


def decode(module: ListCompletion, data: ListData) -> list[tuple[Tensor, Tensor]]:
    """Return the lists of test and ten items for each, by `trainer.predict`."""
    told: Any = quiet_trainer().predict(module, datamodule=data)
    return told


def decoding(o: argparse.Namespace) -> list[Row]:
    """Return seconds of continuing AotM's test lists: item by item by BERT4Rec, in one pass by FANS."""
    data = ListData(SOURCE, seed=0)
    modules = {name: made(name, data) for name in ("BERT4Rec", "FANS")}
    seconds: dict[str, list[float]] = {name: [] for name in modules}
    for _ in range(o.repeats):
        for name, module in modules.items():
            seconds[name].append(timed(partial(decode, module, data), 3))
    what = f"decodes {len(data.parts[TEST].lengths):,} lists of {SOURCE}"
    share = divided(seconds["FANS"], seconds["BERT4Rec"])
    return [
        Row(f"BERT4Rec {what}", "s", seconds["BERT4Rec"], [], [], [], "", None),
        Row(f"FANS {what}", "s", seconds["FANS"], [], [], share, "of BERT4Rec's time", None),
    ]


def kept(model: str, o: argparse.Namespace) -> Row:
    """Return seconds of continuing AotM's test lists with a state that is kept, and their share of encoding anew."""
    data = ListData(SOURCE, seed=0)
    module = made(model, data)
    once = module.backbone
    assert isinstance(once, Autoregressive)
    again = Anew(once)
    ours: list[float] = []
    anew: list[float] = []
    found = []
    for _ in range(o.repeats):
        for backbone, seconds in ((once, ours), (again, anew)):
            module.backbone = backbone
            seconds.append(timed(partial(decode, module, data), 3))
            found.append(torch.cat([items for _, items in decode(module, data)]))
    assert all(torch.equal(one, found[0]) for one in found)
    what = f"{model} decodes {len(data.parts[TEST].lengths):,} lists of {SOURCE}"
    return Row(what, "s", ours, [], [], divided(ours, anew), "of the time of encoding anew", None)


def trees(model: str, sizes: tuple[int, ...], o: argparse.Namespace) -> Row:
    """Return seconds of a training epoch with trees of such sizes on the items, the floor being the plain one.

    A direct loop, no Trainer: step_losses, backward, Adam. Both take turns, and both have the same mini-batches; FANS
    is in the middle of its curriculum.
    """
    data, walks = ListData(SOURCE, seed=0), []
    for trees_of in ((), sizes):
        module = made(model, data)
        module.backbone.progress = 0.5  # type: ignore[assignment]
        tree = partial(Cascaded, codebook_sizes=trees_of, alpha=0.5)
        hook = QuantizationCallback({"item": tree} if trees_of else {}, omega_c=1.0)
        hook.attach(module)
        walks.append(partial(walk, module.train(), hook, module.configure_optimizers()))
    batches = [batch for block in data.train_dataloader() for batch in block.batches()]
    turns = [batches[begin : begin + TURN] for begin in range(0, len(batches), TURN)]
    plain, quantized = [], []
    for _ in range(o.repeats):
        times = [[timed(partial(step, turn), 1) for step in walks] for turn in turns]
        plain.append(sum(one for one, _ in times))
        quantized.append(sum(other for _, other in times))
    more = [100 * (a / b - 1) for a, b in zip(quantized, plain)]
    name = f"{model}, an epoch of {SOURCE} with trees of {list(sizes)}"
    return Row(name, "s", quantized, [], plain, more, "% more than plain", None)


def walk(module: ListCompletion, hook: QuantizationCallback, optimizer: torch.optim.Optimizer, turn: Any) -> None:
    """Train on some mini-batches."""
    for batch in turn:
        terms = module.step_losses(batch, [hook])
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
