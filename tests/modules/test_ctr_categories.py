"""Real categories of items, added to their vectors before or after a quantizer."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from clicks import ITEMS, built, clicks, logits, samples, small_dcn, trainer_of
from small import cascaded

from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.errors import UserError
from lightning_vq.modules import ClickThroughRate, Recommender
from lightning_vq.quantizers import LowRank
from lightning_vq.types import Facts

OF = torch.full((ITEMS, 2), -1)
OF[0], OF[1], OF[3] = torch.tensor([2, 0]), torch.tensor([1, -1]), torch.tensor([0, -1])  # the others have none


def with_categories(path: Path, place: str, quantizers: dict[str, Any]) -> ClickThroughRate:
    """Return a module whose items have categories, vectors of both drawn at a scale at which they differ."""
    held = clicks(path)
    held.setup()
    facts: Facts = held.facts()
    facts = facts._replace(rows=facts.rows | {"item_category": 3}, categories={"item": OF})
    torch.manual_seed(0)
    module = ClickThroughRate(small_dcn(), categories={"item": place})  # type: ignore[dict-item]
    module.build(facts)
    with torch.no_grad():
        for table in module.tables.values():
            table.normal_()
    QuantizationCallback(quantizers).attach(module)
    return module


def means(module: ClickThroughRate) -> torch.Tensor:
    """Return the mean of each item's categories (N, D), by hand."""
    vectors, found = module.tables["item_category"].detach(), torch.zeros(ITEMS, 8)
    found[0], found[1], found[3] = (vectors[2] + vectors[0]) / 2, vectors[1], vectors[0]
    return found


@pytest.mark.parametrize("place", ["before", "after"])
def test_categories_are_added_to_vectors(path: Path, place: str) -> None:
    module, ids = with_categories(path, place, {}), torch.tensor([[0, 1], [2, 3], [ITEMS, 0]])
    whole = torch.cat([module.tables["item"].detach() + means(module), module.outside["item"].detach()])
    look = module.lookup()
    torch.testing.assert_close(look("item", ids), whole[ids])
    torch.testing.assert_close(module.lookup().all("item"), whole[:-1])
    look("item", ids).sum().backward()
    expected = torch.tensor([1.0, 1.0, 1.0])[:, None] * torch.tensor([2 * 0.5 + 1, 1, 2 * 0.5])[:, None]
    torch.testing.assert_close(module.tables["item_category"].grad, expected.expand(3, 8))
    torch.testing.assert_close(look("user", torch.tensor([4])), module.tables["user"][4:5])


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_quantizer_gets_categories_before_it_or_after(path: Path, place: str) -> None:
    module, ids = with_categories(path, place, {"item": cascaded}), torch.tensor([0, 1, 2, 3, 7])
    own, more, quantizer = module.tables["item"].detach(), means(module), module.quantizers["item"]
    given = own + more if place == "before" else own
    look = module.lookup()
    torch.testing.assert_close(look.raw("item", ids), given[ids])
    torch.testing.assert_close(module.table("item").weight, given)  # what it starts from
    assert torch.equal(look.codes("item", ids), quantizer.encode(given[ids], ids))
    expected = quantizer.combine(given[ids], quantizer(given[ids], ids).vectors)
    expected = expected if place == "before" else expected + more[ids]
    torch.testing.assert_close(look("item", ids), expected)
    codebook, _ = look.losses("item")
    torch.testing.assert_close(codebook, quantizer(given[ids], ids).codebook.mean())
    torch.testing.assert_close(module.lookup().all("item")[ids], expected)


def test_a_checkpoint_keeps_categories(path: Path, tmp_path: Path) -> None:
    module = with_categories(path, "after", {"item": cascaded})
    trainer = trainer_of()
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    opened = Recommender.load_from_checkpoint(tmp_path / "one.ckpt")
    assert opened.categories == {"item": "after"}
    assert torch.equal(logits(opened, samples(path)), logits(module, samples(path)))


def test_categories_that_cannot_be(path: Path) -> None:
    with pytest.raises(UserError, match="categories names 'item', but of the data's categories it knows none"):
        built(path, categories={"item": "before"})
    low = partial(LowRank, rank=2)
    with_categories(path, "after", {"item": low})
    with pytest.raises(
        UserError,
        match=r"LowRank stands for the table 'item', so that model\.init_args\.categories\.item must be 'after'",
    ):
        with_categories(path, "before", {"item": low})
