"""What training has not seen: it has rows of its own, and stays out of codes and of a quantizer's losses."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from clicks import ITEMS, QUANTIZERS, USERS, built, clicks, fitted, logits, samples

from lightning_vq.data.splits import TRAIN
from lightning_vq.modules import Recommender
from lightning_vq.types import Quantized, Samples, cut


def of_known(batch: Samples, module: Recommender) -> torch.Tensor:
    """Return which rows have only what training has."""
    assert module.facts is not None
    rows = torch.tensor([module.facts.rows["user"], module.facts.rows["item"]])
    return (batch.fields < rows).all(1) & (batch.sequences[:, 0] < rows[1]).all(1)


def test_the_row_outside_learns_only_where_it_is_met(path: Path) -> None:
    module, batch = built(path), samples(path)
    with torch.no_grad():
        for table in (*module.tables.values(), *module.outside.values()):
            table.normal_()
    known = of_known(batch, module)
    assert 20 < (~known).sum() < known.sum()
    for rows, met in ((known, False), (~known, True)):
        module.zero_grad()
        module.step_losses(cut(batch, rows), [])["task"].backward()
        for name in ("user", "item"):
            gradient = module.outside[name].grad
            assert gradient is not None  # DDP waits for all
            assert bool(gradient.any()) == met, name
    # By hand: the rows outside get what a table with one row more would.
    module.zero_grad()
    module.step_losses(batch, [])["task"].backward()
    whole = {name: torch.cat([t, module.outside[name]]).detach().requires_grad_() for name, t in module.tables.items()}

    class Plain:
        def __call__(self, name: str, ids: torch.Tensor) -> torch.Tensor:
            return whole[name][ids.long()]

    output = module.backbone(Plain(), batch)
    module.task_loss(output, batch).backward()
    for name, table in whole.items():
        assert table.grad is not None
        torch.testing.assert_close(module.outside[name].grad, table.grad[-1:])
        torch.testing.assert_close(module.tables[name].grad, table.grad[:-1])


def test_training_moves_the_row_outside_only_where_values_are_missing(path: Path) -> None:
    train = samples(path, TRAIN)
    assert (train.fields[:, 0] < USERS).all()
    assert 20 < (train.fields[:, 1] == ITEMS).sum() < 100
    module, _ = fitted(clicks(path), epochs=1)
    assert not module.outside["user"].any()
    assert module.outside["item"].abs().min() > 0


def test_a_quantizer_never_meets_what_training_has_not(path: Path) -> None:
    module, batch = built(path, QUANTIZERS), samples(path)
    asked: dict[str, list[torch.Tensor]] = {"user": [], "item": []}
    for name, quantizer in module.quantizers.items():
        quantizer.forward = partial(spied, quantizer.forward, asked[name])  # type: ignore[method-assign]
    look = module.lookup()
    module.backbone(look, batch)
    users, items = batch.fields.unbind(1)
    listed = batch.sequences[batch.sequences >= 0]
    assert (users >= USERS).any()
    assert (items >= ITEMS).any()
    expected = {"user": [users], "item": [items, listed]}
    for name, rows in (("user", USERS), ("item", ITEMS)):
        seen = [ids[ids < rows] for ids in expected[name]]
        assert [ids.tolist() for ids in asked[name]] == [torch.unique(ids).tolist() for ids in seen]
        quantizer, ids = module.quantizers[name], torch.cat(seen)
        alone = built(path, QUANTIZERS).quantizers[name](module.tables[name][ids], ids)
        codebook, commitment = look.losses(name)  # means over what is known alone
        torch.testing.assert_close(codebook, alone.codebook.mean())
        torch.testing.assert_close(commitment, alone.commitment.mean())
        with pytest.raises(IndexError):
            look.codes(name, torch.tensor([rows]))
        assert quantizer.rows == rows == len(look.rows(name))


def spied(forward: Any, asked: list[torch.Tensor], vectors: torch.Tensor, ids: torch.Tensor) -> Quantized:
    asked.append(ids)
    made: Quantized = forward(vectors, ids)
    return made


def test_a_batch_of_strangers_alone(path: Path) -> None:
    module, batch = built(path, QUANTIZERS), samples(path)
    fields = torch.tensor([[USERS, ITEMS]]).expand(len(batch.labels), 2)
    strange = batch._replace(fields=fields, sequences=torch.full_like(batch.sequences, -1))
    look = module.lookup()
    module.task_loss(module.backbone(look, strange), strange).backward()
    assert all(loss.item() == 0 for name in QUANTIZERS for loss in look.losses(name))
    for name in QUANTIZERS:
        assert not module.tables[name].grad.any()
        assert module.outside[name].grad is not None
    changed = built(path, QUANTIZERS)
    with torch.no_grad():
        for book in changed.quantizers.parameters():
            book.add_(1.0)
    assert torch.equal(logits(module, strange), logits(changed, strange))
    assert not torch.equal(logits(module, batch), logits(changed, batch))
