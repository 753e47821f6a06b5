"""The softmax over all items in blocks is the softmax."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from lightning_vq import losses


@pytest.mark.parametrize(("cells", "rows"), [(1, 1), (40, 1), (1, 4), (1 << 22, 64)])
@pytest.mark.parametrize("biased", [True, False])
def test_loss_and_gradients_are_those_of_whole_scores(
    monkeypatch: pytest.MonkeyPatch, cells: int, rows: int, biased: bool
) -> None:
    monkeypatch.setattr(losses, "CELLS", cells)
    monkeypatch.setattr(losses, "ROWS", rows)
    draw = torch.Generator().manual_seed(0)
    hidden, keys, bias = (
        torch.randn(*shape, generator=draw, dtype=torch.float64, requires_grad=True)
        for shape in ((11, 5), (13, 5), (13,))
    )
    targets = torch.randint(13, (11,), generator=draw)
    weights = [hidden, keys, *([bias] if biased else [])]
    plain = cross_entropy(hidden @ keys.T + (bias if biased else 0.0), targets)
    ours = losses.all_items(hidden, keys, bias if biased else None, targets)
    assert torch.allclose(ours, plain, rtol=1e-12)
    for one, other in zip(torch.autograd.grad(3.0 * ours, weights), torch.autograd.grad(3.0 * plain, weights)):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_scores_are_never_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """20,000 positions of 20,000 items would be 1.6 GB of scores."""
    hidden, keys = torch.zeros(20_000, 2, requires_grad=True), torch.zeros(20_000, 2, requires_grad=True)
    largest = 0
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        losses.all_items(hidden, keys, None, torch.zeros(20_000, dtype=torch.long)).backward()
    for event in profile.events():
        largest = max(largest, event.cpu_memory_usage)
    assert largest <= 16 << 20
    monkeypatch.setattr(losses, "MOST", 40_000)
    seen = [hidden.shape[0] for hidden in _blocks(monkeypatch, torch.zeros(7, 2), torch.zeros(20_000, 2))]
    assert max(seen) == 2


def _blocks(monkeypatch: pytest.MonkeyPatch, hidden: torch.Tensor, keys: torch.Tensor) -> list[torch.Tensor]:
    """Return what is multiplied with the keys at a time."""
    found: list[torch.Tensor] = []

    def addmm(bias: torch.Tensor, rows: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        found.append(rows)
        return bias + rows @ other

    monkeypatch.setattr(losses, "CELLS", 1)
    monkeypatch.setattr(torch, "addmm", addmm)
    losses.all_items(hidden, keys, torch.zeros(len(keys)), torch.zeros(len(hidden), dtype=torch.long))
    return found


def test_scores_far_from_zero_keep_their_loss() -> None:
    for far in (0.0, 1e5, -1e7, 1e8):
        loss = losses.all_items(torch.zeros(3, 2), torch.zeros(1000, 2), torch.full((1000,), far), torch.arange(3))
        assert loss.item() == pytest.approx(6.907755)  # log 1000


def test_of_no_positions_the_loss_is_zero() -> None:
    hidden, keys = torch.zeros(0, 2, requires_grad=True), torch.zeros(5, 2, requires_grad=True)
    loss = losses.all_items(hidden, keys, None, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0.0
    assert keys.grad is not None
    assert not keys.grad.any()


def test_under_autocast_the_loss_stays_wide() -> None:
    hidden, keys = torch.randn(6, 4, requires_grad=True), torch.randn(7, 4, requires_grad=True)
    targets = torch.arange(6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = losses.all_items(hidden, keys, None, targets)
    assert loss.dtype == torch.float32
    assert torch.allclose(loss, cross_entropy(hidden @ keys.T, targets), rtol=2e-2)
    loss.backward()
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.float32


def test_in_true_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CELLS", 20)
    monkeypatch.setattr(losses, "ROWS", 1)
    draw = torch.Generator().manual_seed(0)
    wide = [torch.randn(*shape, generator=draw, requires_grad=True) for shape in ((12, 4), (7, 4), (7,))]
    half = [tensor.detach().bfloat16().requires_grad_() for tensor in wide]
    targets = torch.arange(12) % 7
    found = []
    for hidden, keys, bias in (wide, half):
        loss = losses.all_items(hidden, keys, bias, targets)
        found.append((loss, *torch.autograd.grad(loss, (hidden, keys, bias))))
    for one, other in zip(*found):
        assert torch.allclose(one, other.float(), rtol=0.05, atol=0.01)
