"""Attention as torch has it and as it is done by hand where weights are dropped on CPU; positions past a table."""

import pytest
import torch
from torch import Tensor

from lightning_vq.backbones.attention import attend, numbered, split

THERE = torch.tensor([[True, True, False, True, False], [True, False, False, False, False]])


def heads(seed: int, queries: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [split(torch.randn(2, n, 6, generator=draw), 3).requires_grad_() for n in (queries, 5, 5)]


@pytest.mark.parametrize(
    ("queries", "there", "causal"),
    [(5, None, False), (5, None, True), (5, THERE, False), (1, THERE, False), (1, None, False)],
)
def test_by_hand_and_torch_agree(queries: int, there: Tensor | None, causal: bool) -> None:
    parts = heads(0, queries)
    torchs = attend(*parts, there, causal)
    by_hand = attend(*parts, there, causal, drop=1e-9)  # rounds to nothing dropped
    assert by_hand.shape == (2, queries, 6)
    torch.testing.assert_close(by_hand, torchs, atol=1e-6, rtol=1e-5)
    for a, b in zip(*(torch.autograd.grad(made.sin().sum(), parts) for made in (by_hand, torchs))):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_dropped_weights_keep_the_mean() -> None:
    torch.manual_seed(0)
    parts = [part.detach().repeat(5000, 1, 1, 1) for part in heads(1, 5)]
    kept = attend(*parts, causal=True, drop=0.4).view(5000, 2, 5, 6)
    assert kept.std(0).min() > 0.01
    torch.testing.assert_close(kept.mean(0), attend(*heads(1, 5), causal=True).detach(), atol=0.1, rtol=0)


def test_heads_are_neighbouring_parts_of_a_vector() -> None:
    x = torch.arange(24.0).view(1, 4, 6)
    assert split(x, 3)[0, :, 2].tolist() == [[12, 13], [14, 15], [16, 17]]
    assert split(x, 3).transpose(1, 2).flatten(2).equal(x)


def test_positions_past_the_table_have_its_last() -> None:
    table = torch.tensor([[1.0], [2.0], [3.0]])
    assert numbered(table, torch.tensor([[0, 2, 3], [1, 9, 2]])).squeeze(-1).tolist() == [[1, 3, 3], [2, 3, 3]]
