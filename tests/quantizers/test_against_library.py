"""The same codes, losses, gradients and moving averages as vector-quantize-pytorch at equal settings."""

import pytest
import torch
from vector_quantize_pytorch import ResidualVQ, VectorQuantize

from lightning_vq.quantizers import Residual
from lightning_vq.quantizers.codebook import DECAY
from lightning_vq.types import Table

ROWS, DIM = 300, 16


def pair(sizes: list[int], learned: bool, **options: object) -> tuple[Residual, ResidualVQ, torch.Tensor]:
    """Return ours and theirs with the same codes, and a table."""
    torch.manual_seed(0)
    table = torch.randn(ROWS, DIM)
    ours = Residual(ROWS, DIM, codebook_sizes=sizes, learning="gradient" if learned else "ema", **options)  # type: ignore[arg-type]
    ours.start(Table(table))
    theirs = ResidualVQ(
        dim=DIM, codebook_size=tuple(sizes), decay=DECAY, eps=1e-12, learnable_codebook=learned,
        ema_update=not learned, rotation_trick=ours.gradient == "rotation", threshold_ema_dead_code=0,
    )  # fmt: skip
    for level, layer in zip(ours.codebooks, theirs.layers):
        assert isinstance(layer, VectorQuantize)
        with torch.no_grad():
            layer._codebook.embed.copy_(level.weight)
            layer._codebook.embed_avg.copy_(level.weight)
    return ours, theirs.train(), table


@pytest.mark.parametrize("sizes", [[50], [50, 10], [40, 20, 20]])
def test_codes_losses_and_gradients(sizes: list[int]) -> None:
    ours, theirs, table = pair(sizes, learned=True)
    leaves = [table.clone().requires_grad_() for _ in range(2)]
    got = ours(leaves[0], torch.arange(ROWS))
    fused, codes, losses = theirs(leaves[1])
    assert torch.equal(got.codes, codes)
    torch.testing.assert_close(got.vectors, fused, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got.codebook.mean(), losses.sum(), atol=1e-5, rtol=1e-5)
    # Their one loss pulls both ends, at commitment weight 1; ours are two.
    (got.codebook.mean() + got.commitment.mean()).backward()
    losses.sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, atol=1e-7, rtol=1e-5)
    for level, layer in zip(ours.codebooks, theirs.layers):
        torch.testing.assert_close(level.weight.grad, layer._codebook.embed.grad, atol=1e-7, rtol=1e-5)


def test_rotation_carries_the_same_gradient_at_one_level() -> None:
    ours, theirs, table = pair([50], learned=False, gradient="rotation")
    leaves = [table.clone().requires_grad_() for _ in range(2)]
    weight = torch.randn(ROWS, DIM)
    (ours(leaves[0], torch.arange(ROWS)).vectors * weight).sum().backward()
    (theirs(leaves[1])[0] * weight).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, atol=1e-5, rtol=1e-4)


def test_moving_averages_over_many_steps() -> None:
    ours, theirs, table = pair([20, 8], learned=False)
    ids = torch.arange(ROWS)
    for _ in range(30):
        got = ours(table, ids)
        _, codes, losses = theirs(table)
        ours.observe(table, ids, got.codes, None)
        assert torch.equal(got.codes, codes)
        torch.testing.assert_close(got.commitment.mean(), losses.sum(), atol=1e-5, rtol=1e-5)
    for level, layer in zip(ours.codebooks, theirs.layers):
        torch.testing.assert_close(level.weight, layer._codebook.embed, atol=1e-5, rtol=1e-5)
