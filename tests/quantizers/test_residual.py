"""Residual against a per-row reference, and the identity with Cascaded at one level."""

import torch
from torch import Tensor

from lightning_vq.quantizers import Cascaded, Residual
from lightning_vq.types import Table

ROWS, DIM = 31, 6


def made(sizes: list[int]) -> tuple[Residual, Tensor]:
    torch.manual_seed(2)
    table = torch.randn(ROWS, DIM, dtype=torch.float64)
    quantizer = Residual(ROWS, DIM, codebook_sizes=sizes, alpha=0.5).double()
    quantizer.start(Table(table))
    return quantizer, table


def test_values_and_gradients_equal_a_per_row_reference() -> None:
    quantizer, table = made([4, 9, 4])
    leaf, their_leaf = table.clone().requires_grad_(), table.clone().requires_grad_()
    got = quantizer(leaf, torch.arange(ROWS))
    books = [level.book.detach().clone().requires_grad_() for level in quantizer.codebooks]
    quant, commit, fused, paths = torch.zeros(()), torch.zeros(()), [], []
    for e in their_leaf:
        left, total, path = e, torch.zeros(DIM), []
        for book in books:
            j = int((book - left).square().sum(1).argmin())
            quant = quant + (left.detach() - book[j]).square().mean()
            commit = commit + (left - book[j].detach()).square().mean()
            left, total = left - book[j].detach(), total + book[j]
            path.append(j)
        fused.append(total)
        paths.append(path)
    assert got.codes.tolist() == paths
    torch.testing.assert_close(got.vectors, torch.stack(fused))
    torch.testing.assert_close(got.codebook.sum(), quant)
    torch.testing.assert_close(got.commitment.sum(), commit)
    (got.codebook.sum() + 0.25 * got.commitment.sum()).backward()
    (quant + 0.25 * commit).backward()
    torch.testing.assert_close(leaf.grad, their_leaf.grad)
    for level, theirs in zip(quantizer.codebooks, books):
        torch.testing.assert_close(level.weight.grad[0], theirs.grad)


def test_commitment_of_level_two_moves_the_entity() -> None:
    quantizer, table = made([4, 9])
    leaf = table.clone().requires_grad_()
    got = quantizer(leaf, torch.arange(ROWS))
    level_one = (leaf - quantizer.codebooks[0](got.codes[:, :1]).detach()).square().mean(1)
    (got.commitment - level_one).sum().backward()
    # d/de mean (e - sg c1 - sg c2)^2 = 2 (e - c1 - c2) / D
    torch.testing.assert_close(leaf.grad, 2 * (table - got.vectors.detach()) / DIM)
    assert leaf.grad.abs().min() > 0


def test_one_level_is_one_level_of_cascaded() -> None:
    residual, table = made([5])
    cascaded = Cascaded(ROWS, DIM, codebook_sizes=[5], alpha=0.5).double()
    cascaded.load_state_dict(residual.state_dict())
    leaves = [table.clone().requires_grad_() for _ in range(2)]
    for quantizer, leaf in zip((residual, cascaded), leaves):
        got = quantizer(leaf, torch.arange(ROWS))
        seen = quantizer.combine(leaf, got.vectors)
        (seen.square().sum() + got.codebook.sum() + got.commitment.sum()).backward()
    assert torch.equal(leaves[0].grad, leaves[1].grad)
    assert torch.equal(residual.codebooks[0].weight.grad, cascaded.codebooks[0].weight.grad)
    assert residual.bits() == cascaded.bits() == ROWS * 3 + 32 * 5 * DIM
