"""Cascaded against a per-row float64 reference written from the paper, and against values worked by hand."""

import pytest
import torch
from torch import Tensor

from lightning_vq.errors import UserError
from lightning_vq.quantizers import Cascaded
from lightning_vq.types import Table

ROWS, DIM = 37, 6


def made(sizes: list[int], **options: object) -> tuple[Cascaded, Tensor]:
    torch.manual_seed(1)
    table = torch.randn(ROWS, DIM, dtype=torch.float64)
    quantizer = Cascaded(ROWS, DIM, codebook_sizes=sizes, **options).double()  # type: ignore[arg-type]
    quantizer.start(Table(table))
    return quantizer, table


def reference(books: list[Tensor], table: Tensor, total: bool) -> tuple[Tensor, Tensor, Tensor, list[list[int]]]:
    """Eq. 2-9 row by row: mean of codes, L_quant, L_commit (means over rows), paths."""
    fused, quant, commit, paths = [], torch.zeros(()), torch.zeros(()), []
    for e in table:
        below, codes, path = e, [], []
        for book in books:
            j = int((book - below.detach()).square().sum(1).argmin())
            gap_code, gap_below = (below.detach() - book[j]).square(), (below - book[j].detach()).square()
            quant = quant + (gap_code.sum() if total else gap_code.mean())
            commit = commit + (gap_below.sum() if total else gap_below.mean())
            below = book[j]
            codes.append(below)
            path.append(j)
        fused.append(torch.stack(codes).mean(0))
        paths.append(path)
    return torch.stack(fused), quant / len(table), commit / len(table), paths


@pytest.mark.parametrize("sizes", [[9], [9, 4], [9, 4, 1]])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_values_and_gradients_equal_the_per_row_reference(sizes: list[int], reduction: str) -> None:
    quantizer, table = made(sizes, loss_reduction=reduction)
    leaf = table.clone().requires_grad_()
    got = quantizer(leaf, torch.arange(ROWS))
    books = [b.detach().clone().requires_grad_() for b in quantizer.books()]
    their_leaf = table.clone().requires_grad_()
    fused, quant, commit, paths = reference(books, their_leaf, reduction == "sum")
    assert got.codes.tolist() == paths
    torch.testing.assert_close(got.vectors, fused)
    torch.testing.assert_close(got.codebook.mean(), quant.double())
    torch.testing.assert_close(got.commitment.mean(), commit.double())
    (got.codebook.mean() + 0.25 * got.commitment.mean()).backward()
    (quant + 0.25 * commit).backward()
    torch.testing.assert_close(leaf.grad, their_leaf.grad)
    for level, theirs in zip(quantizer.codebooks, books):
        torch.testing.assert_close(level.weight.grad[0], theirs.grad)


def test_worked_by_hand() -> None:
    quantizer = Cascaded(4, 2, codebook_sizes=[2, 1], alpha=0.5)
    quantizer.start(Table(torch.randn(4, 2)))
    with torch.no_grad():
        quantizer.books()[0].copy_(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
        quantizer.books()[1].copy_(torch.tensor([[2.0, 2.0]]))
    vectors = torch.tensor([[1.0, 0.0], [3.0, 2.0]])
    got = quantizer(vectors, torch.tensor([0, 1]))
    assert got.codes.tolist() == [[0, 0], [1, 0]]
    # Level 1: |1,0|^2 = 1 and |1,2|^2 = 5; level 2: |2,2|^2 = 8 and |2,2|^2 = 8; halved by the mean over D.
    assert got.codebook.tolist() == [4.5, 6.5]
    assert got.commitment.tolist() == [4.5, 6.5]
    # Fused: mean of (0,0),(2,2) and of (4,0),(2,2).
    assert quantizer.combine(vectors, got.vectors).tolist() == [[1.5, 0.5], [4.5, 2.5]]


def test_commitment_of_level_two_moves_the_finer_codebook_never_the_entity() -> None:
    quantizer, table = made([9, 4])
    leaf = table.clone().requires_grad_()
    got = quantizer(leaf, torch.arange(ROWS))
    level_one = (leaf - quantizer.books()[0].detach()[got.codes[:, 0]]).square().mean(1)
    (got.commitment - level_one).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().max() < 1e-12
    assert quantizer.codebooks[0].weight.grad.abs().max() > 0
    assert not quantizer.codebooks[1].weight.grad.any()


@pytest.mark.parametrize("fusion", ["mean", "concat"])
@pytest.mark.parametrize("gradient", ["straight_through", "codebook", "both", "rotation"])
def test_task_gradient_goes_where_the_estimator_says(fusion: str, gradient: str) -> None:
    quantizer, table = made([9, 4], fusion=fusion, gradient=gradient)
    leaf = table.clone().requires_grad_()
    quantizer(leaf, torch.arange(ROWS)).vectors.square().sum().backward()
    reaches_codes = gradient in ("codebook", "both")
    assert (leaf.grad is not None and bool(leaf.grad.any())) == (gradient != "codebook")
    for level in quantizer.codebooks:
        assert (level.weight.grad is not None and bool(level.weight.grad.any())) == reaches_codes
    if quantizer.project is not None:
        assert bool(quantizer.project.weight.grad.any())


@pytest.mark.parametrize("fusion", ["mean", "concat"])
def test_decode_of_encode_is_what_evaluation_sees(fusion: str) -> None:
    quantizer, table = made([9, 4], fusion=fusion, alpha=0.7)
    ids = torch.arange(ROWS)
    codes = quantizer.encode(table, ids)
    got = quantizer(table, ids)
    assert torch.equal(codes, got.codes)
    assert codes.min() >= 0
    assert all(int(codes[:, i].max()) < k for i, k in enumerate(quantizer.codebook_sizes))
    torch.testing.assert_close(quantizer.decode(codes, ids), got.vectors)
    torch.testing.assert_close(quantizer.combine(table, got.vectors), table + 0.7 * got.vectors)


def test_entities_of_one_code_share_its_parents() -> None:
    quantizer, table = made([9, 4, 2])
    codes = quantizer.encode(table, torch.arange(ROWS))
    for leaf in codes[:, 0].unique():
        assert len(codes[codes[:, 0] == leaf].unique(dim=0)) == 1


def test_empty_batch_one_row_and_duplicates() -> None:
    quantizer, table = made([9, 4])
    empty = quantizer(table[:0], torch.arange(0))
    assert empty.vectors.shape == (0, DIM)
    assert empty.codes.shape == (0, 2)
    one = quantizer(table[:1], torch.arange(1))
    twice = quantizer(table[[0, 0]], torch.zeros(2, dtype=torch.long))
    assert torch.equal(twice.codes[0], one.codes[0])
    assert torch.equal(twice.codebook[1], one.codebook[0])


def test_codes_start_at_the_scale_of_the_table() -> None:
    for scale in (0.01, 3.0):
        quantizer = Cascaded(5000, 64, codebook_sizes=[500, 10])
        quantizer.start(Table(torch.randn(5000, 64) * scale))
        for book in quantizer.books():
            assert book.std().item() == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize("sizes", [[10, 50], [10, 10], [50, 10, 20], [], [0], [37], [100]])
def test_sizes_that_cannot_be_a_tree_are_refused(sizes: list[int]) -> None:
    with pytest.raises(UserError, match="codebook_sizes"):
        Cascaded(ROWS, DIM, codebook_sizes=sizes)


def test_the_message_names_the_pair_and_the_right_order() -> None:
    with pytest.raises(UserError, match=r"level 2 has 10 codes and level 3 has 20.*did you mean \[50, 20, 10\]"):
        Cascaded(ROWS, DIM, codebook_sizes=[50, 10, 20])


def test_bits_by_hand() -> None:
    # 37 rows at 4 bits (9 codes), 9 parents at 2 bits (4 codes), (9 + 4) * 6 floats
    assert Cascaded(37, 6, codebook_sizes=[9, 4]).bits() == 37 * 4 + 9 * 2 + 32 * 13 * 6
    assert Cascaded(37, 6, codebook_sizes=[1]).bits() == 32 * 6
