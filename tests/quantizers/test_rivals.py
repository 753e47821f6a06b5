"""LowRank and Scalar, the rivals of product codes."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from lightning_vq.errors import UserError
from lightning_vq.quantizers import LowRank, Scalar
from lightning_vq.types import Table


def test_low_rank_at_full_rank_is_a_full_table() -> None:
    torch.manual_seed(0)
    quantizer, table = LowRank(20, 4, rank=4), torch.randn(20, 4)
    quantizer.start(Table(table))
    ids = torch.tensor([[3, 3], [0, 9]])
    got = quantizer(torch.zeros(2, 2, 4), ids).vectors
    assert torch.equal(got, table[ids])
    got.square().sum().backward()  # with V at the identity the factor's gradient is the table's
    leaf = table.clone().requires_grad_()
    leaf[ids].square().sum().backward()
    assert torch.equal(quantizer.left.grad, leaf.grad)


def test_low_rank_starts_at_the_scale_of_the_table() -> None:
    torch.manual_seed(0)
    quantizer = LowRank(4000, 64, rank=8)
    quantizer.start(Table(torch.randn(4000, 64) * 0.01))
    ids = torch.arange(4000)
    assert quantizer(torch.zeros(4000, 64), ids).vectors.std().item() == pytest.approx(0.01, rel=0.05)


def test_low_rank_leaves_its_start_as_soon_as_a_table_would() -> None:
    """With V a quarter as large, a product of the same scale, the loss of seed 0 is .56 after these steps, not .31."""
    torch.manual_seed(0)
    likes = (torch.randn(200, 4) @ torch.randn(4, 200) > 0).float()
    users, items = LowRank(200, 16, rank=8), LowRank(200, 16, rank=8)
    for quantizer in (users, items):
        quantizer.start(Table(torch.randn(200, 16) * 0.01))
    optimizer = torch.optim.Adam([*users.parameters(), *items.parameters()], lr=3e-3)
    unread = torch.zeros(256, 16)
    for _ in range(150):
        pairs = torch.randint(200, (2, 256))
        u, i = users(unread, pairs[0]).vectors, items(unread, pairs[1]).vectors
        loss = binary_cross_entropy_with_logits((u * i).sum(1), likes[pairs[0], pairs[1]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.4


def test_low_rank_gradient_by_hand() -> None:
    quantizer = LowRank(3, 2, rank=1)
    quantizer.start(Table(torch.randn(3, 2)))
    with torch.no_grad():
        quantizer.left.copy_(torch.tensor([[1.0], [2.0], [3.0]]))
        quantizer.right.copy_(torch.tensor([[5.0, 7.0]]))
    got = quantizer(torch.zeros(1, 2), torch.tensor([1]))
    assert got.vectors.tolist() == [[10.0, 14.0]]
    got.vectors.sum().backward()
    assert quantizer.left.grad.tolist() == [[0.0], [12.0], [0.0]]
    assert quantizer.right.grad.tolist() == [[2.0, 2.0]]


def test_scalar_by_hand() -> None:
    table = torch.tensor([[0.0, 5.0], [3.0, 5.0], [1.4, 5.0]])
    quantizer = Scalar(3, 2, bits_each=2)  # steps of the first column: 0, 1, 2, 3; the second is constant
    quantizer.start(Table(table))
    got = quantizer(table, torch.arange(3))
    assert got.codes.tolist() == [[0, 0], [3, 0], [1, 0]]
    assert got.vectors.tolist() == [[0.0, 5.0], [3.0, 5.0], [1.0, 5.0]]
    assert quantizer.bits() == 3 * 2 * 2 + 2 * 32 * 2


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_scalar_is_off_by_half_a_step_at_most(bits: int) -> None:
    torch.manual_seed(0)
    table = torch.randn(300, 5, dtype=torch.float64)
    quantizer = Scalar(300, 5, bits_each=bits).double()
    quantizer.start(Table(table))
    gap = (quantizer(table, torch.arange(300)).vectors - table).abs()
    assert (gap <= quantizer.step / 2 * (1 + 1e-9)).all()


def test_scalar_goes_straight_through_and_values_beyond_the_range_stay_at_its_ends() -> None:
    quantizer = Scalar(2, 1, bits_each=1)
    quantizer.start(Table(torch.tensor([[0.0], [1.0]])))
    leaf = torch.tensor([[7.0]], requires_grad=True)
    got = quantizer(leaf, torch.tensor([0]))
    assert got.vectors.tolist() == [[1.0]]
    got.vectors.sum().backward()
    assert leaf.grad.tolist() == [[1.0]]


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="rank is 5"):
        LowRank(9, 4, rank=5)
    with pytest.raises(UserError, match="bits_each is 0"):
        Scalar(9, 4, bits_each=0)
