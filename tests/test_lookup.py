"""The lookup: what is searched, what enters the losses, what is refused."""

import pytest
import torch

from lightning_vq.lookup import Lookup, mean_of
from lightning_vq.quantizers import Cascaded
from lightning_vq.types import Table


@pytest.fixture
def parts() -> tuple[torch.Tensor, Cascaded]:
    torch.manual_seed(3)
    table, quantizer = torch.randn(20, 4), Cascaded(20, 4, codebook_sizes=[6, 2])
    quantizer.start(Table(table))
    return table, quantizer


def test_vectors_are_those_of_the_quantizer_whatever_the_shape_of_ids(parts: tuple[torch.Tensor, Cascaded]) -> None:
    table, quantizer = parts
    ids = torch.tensor([[3, 3, 7], [0, 19, 3]])
    look = Lookup({"item": table}, {"item": quantizer})
    expected = quantizer.combine(table[ids], quantizer(table[ids], ids).vectors)
    torch.testing.assert_close(look("item", ids), expected)
    torch.testing.assert_close(look("item", torch.tensor(7)), expected[0, 2])


def test_losses_are_means_over_occurrences_of_all_calls(parts: tuple[torch.Tensor, Cascaded]) -> None:
    table, quantizer = parts
    look = Lookup({"item": table}, {"item": quantizer})
    look("item", torch.tensor([3, 3, 3, 7]))
    look("item", torch.tensor([0, 3]))
    ids = torch.tensor([3, 3, 3, 7, 0, 3])
    expected = quantizer(table[ids], ids)
    codebook, commitment = look.losses("item")
    torch.testing.assert_close(codebook, expected.codebook.mean())
    torch.testing.assert_close(commitment, expected.commitment.mean())


def test_the_whole_table_weighs_each_row_once_and_later_looks_add_nothing(parts: tuple[torch.Tensor, Cascaded]) -> None:
    table, quantizer = parts
    look = Lookup({"item": table}, {"item": quantizer})
    whole = look.all("item")
    assert look.all("item") is whole
    assert torch.equal(look("item", torch.tensor([5, 5])), whole[[5, 5]])
    torch.testing.assert_close(look.losses("item")[0], quantizer(table, torch.arange(20)).codebook.mean())


def test_all_after_look_is_refused(parts: tuple[torch.Tensor, Cascaded]) -> None:
    table, quantizer = parts
    look = Lookup({"item": table}, {"item": quantizer})
    look("item", torch.tensor([1]))
    with pytest.raises(RuntimeError, match="must come before"):
        look.all("item")


def test_an_idle_quantizer_still_takes_part_in_the_graph(parts: tuple[torch.Tensor, Cascaded]) -> None:
    table, quantizer = parts
    sum(Lookup({"item": table}, {"item": quantizer}).losses("item")).backward()
    assert all(p.grad is not None and not p.grad.any() for p in quantizer.parameters())


def test_once_makes_once(parts: tuple[torch.Tensor, Cascaded]) -> None:
    look, made = Lookup({}, {}), []
    assert look.once("x", lambda: made.append(1) or 5) == 5
    assert look.once("x", lambda: made.append(1) or 6) == 5
    assert made == [1]


def test_no_ids_are_no_rows_and_no_losses(parts: tuple[torch.Tensor, Cascaded]) -> None:
    table, quantizer = parts
    table.requires_grad_()
    look = Lookup({"item": table}, {"item": quantizer})
    nothing = look("item", torch.zeros(0, dtype=torch.long))
    assert nothing.shape == (0, 4)
    nothing.sum().backward()  # a table that a mini-batch does not need still takes part: DDP waits for it
    assert torch.equal(table.grad, torch.zeros(20, 4))
    assert [float(loss.detach()) for loss in look.losses("item")] == [0.0, 0.0]


def test_means_of_rows_and_their_gradient() -> None:
    table = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 8.0]], dtype=torch.float64, requires_grad=True)
    rows = torch.tensor([[0, 2, -1], [-1, -1, -1], [-1, 1, 1], [2, -1, -1]])
    found = mean_of(table, rows)
    torch.testing.assert_close(found.tolist(), [[3.0, 5.0], [0.0, 0.0], [3.0, 4.0], [5.0, 8.0]])
    found.backward(torch.tensor([[1.0, 2.0], [9.0, 9.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.float64))
    assert table.grad is not None
    torch.testing.assert_close(table.grad.tolist(), [[0.5, 1.0], [3.0, 4.0], [5.5, 7.0]])
    assert torch.autograd.gradcheck(lambda x: mean_of(x, rows), (table,))
    assert torch.equal(mean_of(table.detach(), rows), found)
    empty = mean_of(table, rows[:0])
    empty.sum().backward()
    assert empty.shape == (0, 2)
