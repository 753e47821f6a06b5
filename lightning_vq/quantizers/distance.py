"""The two quantization losses of a row: one distance, each of whose two ends is pulled by one of them."""

from typing import Any

import torch
from torch import Tensor


class _Pulls(torch.autograd.Function):
    """The difference is formed and kept once, where two expressions with detach would do so twice."""

    @staticmethod
    def forward(ctx: Any, e: Tensor, c: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        gap = e - c
        ctx.save_for_backward(gap)
        ctx.scale = scale
        distance = torch.linalg.vecdot(gap, gap).mul_(scale)
        return distance, distance.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gap,) = ctx.saved_tensors
        codebook, commitment = grads
        e = gap * (2 * ctx.scale * commitment)[..., None] if ctx.needs_input_grad[0] else None
        c = gap * (-2 * ctx.scale * codebook)[..., None] if ctx.needs_input_grad[1] else None
        return e, c, None


def pulls(e: Tensor, c: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return scale * |sg(e) - c|^2, which pulls codes c to vectors e, and scale * |e - sg(c)|^2, the reverse.

    Args:
        e: (..., D) vectors.
        c: (..., D) their codes.
        scale: 1 / D for a mean over D, 1 for a sum.

    Returns:
        Two (...) losses of equal value, the codebook's and the commitment's (van den Oord et al. 2017, eq. 3).
    """
    with torch.autocast(e.device.type, enabled=False):  # in bfloat16 a gathered loss loses count of its rows
        wide = torch.promote_types(torch.promote_types(e.dtype, c.dtype), torch.float32)
        return _Pulls.apply(e.to(wide), c.to(wide), scale)
