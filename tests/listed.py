"""A small world of lists, for tests of list completion backbones: facts, ragged batches, random weights, a lookup."""

import torch
from torch import Tensor

from lightning_vq.backbones.list_completion.bert4rec import BERT4Rec
from lightning_vq.backbones.list_completion.car import CAR
from lightning_vq.backbones.list_completion.caser import Caser
from lightning_vq.backbones.list_completion.fans import FANS
from lightning_vq.backbones.list_completion.gru4rec import GRU4Rec
from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.backbones.lists import Autoregressive, ListBackbone
from lightning_vq.lookup import Lookup
from lightning_vq.types import Facts, Lists

ITEMS, DIM, LENGTH = 9, 4, 7
ROWS, ONCE = {"item": ITEMS, "creator": ITEMS}, torch.ones(ITEMS).long()
FACTS = Facts(ROWS, {"item": ONCE, "creator": ONCE}, {}, provides=("lists",), length=LENGTH)
RAGGED = [[3, 1, 4, 1, 5], [2], [8, 0, 7], [0, 1, 2, 3, 4, 5, 6], [6, 6]]

CAUSAL: list[Autoregressive] = [
    SASRec(DIM, layers=2, heads=2, dropout=0.5),
    SASRec(DIM, layers=1, heads=1, dropout=0.5, tied=False),
    GRU4Rec(DIM, layers=2, dropout=0.5),
    GRU4Rec(DIM, layers=3, hidden=5, dropout=0.5, tied=True),
    CAR(DIM, layers=2, heads=2, dropout=0.5),
    CAR(DIM, layers=1, heads=1, dropout=0.5, tied=False),
    Caser(DIM, window=3, horizontal=2, vertical=3, dropout=0.5),
    Caser(DIM, window=1, horizontal=3, vertical=1, dropout=0.5, tied=True),
]
AUTOREGRESSIVE: list[Autoregressive] = [
    *CAUSAL,
    BERT4Rec(DIM, layers=2, heads=2, dropout=0.5),
    BERT4Rec(DIM, layers=1, heads=1, dropout=0.5, mask_probability=0.3, last_probability=0.2, tied=False),
]
ALL: list[ListBackbone] = [
    *AUTOREGRESSIVE,
    FANS(DIM, layers=2, heads=2, dropout=0.5),
    FANS(DIM, layers=1, heads=1, dropout=0.5, steps=1, known_probability=0.0, tied=True),
]


def named(backbone: ListBackbone) -> str:
    return f"{type(backbone).__name__}-{'tied' if backbone.tied else 'untied'}"


def lists(items: list[list[int]], width: int | None = None, negatives: Tensor | None = None) -> Lists:
    """Return a batch of lists, padded to the longest or to a width."""
    width = width or max(len(one) for one in items)
    padded = torch.tensor([one + [-1] * (width - len(one)) for one in items])
    return Lists(padded, (padded >= 0).sum(1) // 2, torch.arange(len(items)), negatives)


class World:
    """A backbone with random weights in evaluation mode, and its tables."""

    def __init__(self, backbone: ListBackbone, seed: int = 0) -> None:
        self.backbone = backbone
        backbone.prepare(FACTS)
        backbone.eval()
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in backbone.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))
        specs = backbone.tables()
        self.tables = {n: torch.randn(ITEMS, s.dim, generator=draw).requires_grad_() for n, s in specs.items()}
        self.outside = {
            n: torch.randn(s.outside, s.dim, generator=draw).requires_grad_() for n, s in specs.items() if s.outside
        }

    def look(self) -> Lookup:
        return Lookup(self.tables, {}, self.outside)

    def leaves(self) -> dict[str, Tensor]:
        """Return everything that learns, by name."""
        tables = {f"table {n}": t for n, t in self.tables.items()} | {
            f"outside {n}": t for n, t in self.outside.items()
        }
        return tables | dict(self.backbone.named_parameters())
