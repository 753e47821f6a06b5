"""Which items BERT4Rec hides and what stands there then, over many draws; and that a token is never an item."""

import pytest
import torch
from listed import ALL, DIM, FACTS, ITEMS, RAGGED, World, lists, named
from torch import Tensor

from lightning_vq.backbones.list_completion.bert4rec import BERT4Rec
from lightning_vq.backbones.lists import Autoregressive, ListBackbone
from lightning_vq.backbones.sequences import clozed
from lightning_vq.lookup import Lookup
from lightning_vq.quantizers import Cascaded
from lightning_vq.types import Lists, Table

DRAWS = 20_000


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def near(share: Tensor, odds: float | Tensor, draws: int) -> None:
    """Hold a share of independent draws within five standard deviations of its odds."""
    odds = torch.as_tensor(odds)
    assert ((share - odds).abs() <= 5 * (odds * (1 - odds) / draws).sqrt() + 1e-6).all(), (share, odds)


@pytest.mark.parametrize(("s", "a"), [(0.15, 0.10), (0.6, 0.4), (0.3, 0.0)])
def test_odds_of_being_hidden(s: float, a: float) -> None:
    backbone = BERT4Rec(DIM, mask_probability=s, last_probability=a)
    lengths = torch.arange(DRAWS) % 2 * 3 + 5  # lists of 5 and of 8 in one batch
    items = torch.ones(DRAWS, 10).long().masked_fill(torch.arange(10) >= lengths[:, None], -1)
    chosen = backbone.chosen(items)
    assert chosen.any(1).all()
    for length in (5, 8):
        some = chosen[lengths == length].float()
        assert not some[:, length:].any()
        none = (1 - s) ** (length - 1) * (1 - s - a)  # then one of all is taken
        odds = torch.full((length,), s + none / length)
        odds[-1] += a
        near(some[:, :length].mean(0), odds, len(some))


def test_without_odds_any_one_item_is_hidden() -> None:
    backbone = BERT4Rec(DIM, mask_probability=0.0, last_probability=0.0)
    items = torch.ones(DRAWS, 6).long()
    items[:, 4:] = -1
    chosen = backbone.chosen(items)
    assert (chosen.sum(1) == 1).all()
    near(chosen[:, :4].float().mean(0), 0.25, DRAWS)
    assert not backbone.chosen(torch.full((3, 4), -1)).any()


def test_what_stands_in_the_place_of_hidden_items() -> None:
    rows = 50
    items = torch.randint(rows, (DRAWS, 5))
    chosen = torch.rand(DRAWS, 5) < 0.5
    shown = clozed(items, chosen, rows)
    assert torch.equal(shown[~chosen], items[~chosen])
    of, to, draws = items[chosen], shown[chosen], int(chosen.sum())
    near((to == rows).float().mean(), 0.8, draws)
    near((to == of).float().mean(), 0.1 + 0.1 / rows, draws)
    other = to[(to != rows) & (to != of)]
    near(torch.tensor(len(other) / draws), 0.1 * (1 - 1 / rows), draws)
    near(torch.bincount(other, minlength=rows) / len(other), 1 / rows, len(other))
    assert int(to.max()) == rows


def test_draws_follow_the_seed() -> None:
    world = World(BERT4Rec(DIM))
    made = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        made.append(world.backbone.learned(world.look(), lists(RAGGED * 4))[1])
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


class Watched(Lookup):
    """A lookup that remembers what was asked of it."""

    asked: list[tuple[str, Tensor]]

    def __call__(self, name: str, ids: Tensor) -> Tensor:
        self.asked = [*getattr(self, "asked", []), (name, ids.reshape(-1))]
        return super().__call__(name, ids)


class Watching(Cascaded):
    """A quantizer that remembers which rows it was given, and how often they occurred."""

    def __init__(self, table: Tensor) -> None:
        super().__init__(ITEMS, DIM, codebook_sizes=[4, 2])
        self.start(Table(table.detach()))
        self.rows_seen: list[tuple[Tensor, Tensor | None]] = []

    def observe(self, vectors: Tensor, ids: Tensor, codes: Tensor, weights: Tensor | None) -> None:
        self.rows_seen.append((ids, weights))


@pytest.mark.parametrize("backbone", ALL, ids=named)
@pytest.mark.parametrize("sampled", [False, True])
def test_padding_and_tokens_are_no_items_to_lookup_and_quantizer(backbone: ListBackbone, sampled: bool) -> None:
    world = World(backbone)
    quantizer = Watching(world.tables["item"])
    backbone.train()
    look = Watched(world.tables, {"item": quantizer}, world.outside)
    batch = lists(RAGGED, 9)
    if sampled:
        batch = batch._replace(negatives=torch.zeros(len(RAGGED), 9, 2).long())
    output = backbone(look, batch)
    predicted = len(output.targets)  # type: ignore[arg-type]
    inputs = next(ids for name, ids in look.asked if name == "item")
    items = int((batch.items >= 0).sum())
    assert len(inputs) == (items if backbone.tokens else items - len(RAGGED))
    assert all(int(ids.min()) >= 0 and int(ids.max()) < ITEMS + backbone.tokens for _, ids in look.asked)
    seen = sum(ITEMS if weights is None else int(weights.sum()) for _, weights in quantizer.rows_seen)
    assert all(int(ids.min()) >= 0 and int(ids.max()) < ITEMS for ids, _ in quantizer.rows_seen)
    if backbone.tied and not sampled:
        assert seen == ITEMS  # the whole table, once
    else:
        assert seen == int((inputs < ITEMS).sum()) + (3 * predicted if backbone.tied else 0)


@pytest.mark.parametrize("backbone", [b for b in ALL if isinstance(b, Autoregressive)], ids=named)
def test_what_comes_in_is_quantized(backbone: Autoregressive) -> None:
    world = World(backbone)
    quantizer = Watching(world.tables["item"])

    def begun() -> Tensor:
        return backbone.begin(Lookup(world.tables, {"item": quantizer}, world.outside), lists(RAGGED).items)[0]

    before = begun()
    with torch.no_grad():
        for book in quantizer.parameters():
            book.copy_(torch.randn_like(book))
    assert not torch.allclose(before, begun(), atol=1e-3)


def test_a_token_is_outside_the_table() -> None:
    backbone = BERT4Rec(DIM)
    backbone.prepare(FACTS)
    assert backbone.tables()["item"].outside == 1
    empty = Lists(torch.full((2, 3), -1), torch.zeros(2), torch.arange(2))
    assert len(backbone.learned(World(backbone).look(), empty)[1]) == 0
