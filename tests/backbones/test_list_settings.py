"""Settings of list completion backbones: checkpoints, dropout, tables, what is refused."""

from collections.abc import Callable

import pytest
import torch
from listed import ALL, DIM, FACTS, ITEMS, LENGTH, RAGGED, World, lists, named

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.list_completion.bert4rec import BERT4Rec
from lightning_vq.backbones.list_completion.car import CAR
from lightning_vq.backbones.list_completion.caser import Caser
from lightning_vq.backbones.list_completion.fans import FANS
from lightning_vq.backbones.list_completion.gru4rec import GRU4Rec
from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.backbones.lists import Autoregressive, ListBackbone
from lightning_vq.errors import UserError
from lightning_vq.specs import construct, describe

every = pytest.mark.parametrize("backbone", ALL, ids=named)


@every
def test_a_checkpoint_describes_it(backbone: ListBackbone) -> None:
    spec = describe(backbone)
    assert describe(construct(spec, Backbone)) == spec
    assert spec["init_args"]["dim"] == DIM


@every
def test_tables(backbone: ListBackbone) -> None:
    backbone.prepare(FACTS)
    specs = backbone.tables()
    assert [name for name, spec in specs.items() if spec.quantizable] == ["item"]
    assert ("item_output" in specs) != backbone.tied
    assert ("item_bias" in specs) == (not backbone.tied or isinstance(backbone, BERT4Rec))
    assert not any(spec.decay for name, spec in specs.items() if name == "item_bias")


@every
def test_scores_of_all_and_of_some_items_agree(backbone: ListBackbone) -> None:
    world = World(backbone)
    whole, some = backbone.keys(world.look()), backbone.keys(world.look(), torch.tensor([[4, 2], [0, 8]]))
    assert whole[0].shape == (ITEMS, DIM)
    for a, b in zip(whole, some):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a[torch.tensor([[4, 2], [0, 8]])], b)


@every
def test_dropout_is_for_training_alone(backbone: ListBackbone) -> None:
    world = World(backbone)

    def hidden(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        if isinstance(backbone, Autoregressive):
            return backbone.begin(world.look(), lists(RAGGED).items)[0]
        return backbone.learned(world.look(), lists(RAGGED))[0]

    assert torch.equal(hidden(0), hidden(1))
    backbone.train()
    assert torch.equal(hidden(0), hidden(0))
    assert not torch.equal(hidden(0), hidden(1))


@pytest.mark.parametrize("kind", [SASRec, GRU4Rec, Caser, BERT4Rec, CAR, FANS])
def test_defaults_are_those_of_the_papers(kind: type[ListBackbone]) -> None:
    backbone = kind()  # type: ignore[call-arg]
    assert backbone.dim == 64
    assert backbone.tied == (kind in (SASRec, BERT4Rec, CAR))
    assert backbone.tokens == (kind in (BERT4Rec, FANS))


def test_positions_that_learn() -> None:
    sasrec, bert4rec = SASRec(DIM), BERT4Rec(DIM)
    sasrec.prepare(FACTS)
    bert4rec.prepare(FACTS)
    assert len(sasrec.positions) == LENGTH - 1  # a list's last item predicts nothing
    assert len(bert4rec.encoder.positions) == LENGTH
    sasrec.prepare(FACTS._replace(length=1))
    assert len(sasrec.positions) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SASRec(0), "dim is 0"),
        (lambda: SASRec(layers=0), "layers is 0"),
        (lambda: SASRec(heads=0), "heads is 0"),
        (lambda: SASRec(64, heads=6), "heads is 6, which does not divide dim 64; the nearest is 4"),
        (lambda: SASRec(dropout=1.0), "dropout is 1.0"),
        (lambda: GRU4Rec(-1), "dim is -1"),
        (lambda: GRU4Rec(layers=0), "layers is 0"),
        (lambda: GRU4Rec(hidden=0), "hidden is 0"),
        (lambda: GRU4Rec(dropout=-0.1), "dropout is -0.1"),
        (lambda: Caser(window=0), "window is 0"),
        (lambda: Caser(horizontal=0), "horizontal is 0"),
        (lambda: Caser(vertical=0), "vertical is 0"),
        (lambda: Caser(dropout=1.5), "dropout is 1.5"),
        (lambda: BERT4Rec(heads=5), "heads is 5, which does not divide dim 64"),
        (lambda: BERT4Rec(layers=-2), "layers is -2"),
        (lambda: BERT4Rec(mask_probability=-0.2), "mask_probability is -0.2"),
        (lambda: BERT4Rec(last_probability=1.0), "last_probability is 1.0"),
        (lambda: BERT4Rec(mask_probability=0.6, last_probability=0.5), "last_probability is 0.5"),
        (lambda: CAR(10, heads=3), "heads is 3, which does not divide dim 10; the nearest is 2"),
        (lambda: CAR(layers=0), "layers is 0"),
        (lambda: FANS(steps=0), "steps is 0"),
        (lambda: FANS(known_probability=1.0), "known_probability is 1.0"),
        (lambda: FANS(dim=12), "heads is 8, which does not divide dim 12; the nearest is 6"),
    ],
)
def test_what_cannot_be(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value).startswith("backbone.init_args." + message)
