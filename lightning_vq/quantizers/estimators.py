"""Gradient estimators: each returns the value of the code and says where its gradient goes.

Shapes: e (..., D) vectors of entities, c (..., D) their code vectors, g the gradient that arrives.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

Estimator = Literal["straight_through", "codebook", "both", "rotation"]
SHORT = 1e-6  # |e| below which a rotation from e is noise, and |c| / |e| without bound


class _Carry(torch.autograd.Function):
    """Value c, de = g; dc = g or 0. As c + (e - e.detach()), without its two passes over memory."""

    @staticmethod
    def forward(ctx: Any, e: Tensor, c: Tensor, to_code: bool) -> Tensor:
        ctx.to_code = to_code
        return c.view_as(c)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        return grads[0], grads[0] if ctx.to_code else None, None


def straight_through(e: Tensor, c: Tensor) -> Tensor:
    """Value c, de = g, dc = 0: codes learn from L_quant alone (CAGE eq. 6; van den Oord et al. 2017)."""
    return _Carry.apply(e, c, False)


def codebook(e: Tensor, c: Tensor) -> Tensor:
    """Value c, de = 0, dc = g: codes learn from the task too, the entity only through its own vector."""
    return c


def both(e: Tensor, c: Tensor) -> Tensor:
    """Value c, de = g, dc = g."""
    return _Carry.apply(e, c, True)


def rotation(e: Tensor, c: Tensor) -> Tensor:
    """Value c, de = (|c| / |e|) R^T g with R the rotation of e onto c, dc = 0 (Fifty et al. 2024, eq. 3-4).

    R = I - 2 r r^T + 2 q p^T with p = e/|e|, q = c/|c|, r = (p + q)/|p + q|; all three are constants.
    """
    fixed, code = e.detach(), c.detach()
    p, q = normalize(fixed, dim=-1), normalize(code, dim=-1)
    r = normalize(p + q, dim=-1)
    scale = code.norm(dim=-1, keepdim=True) / fixed.norm(dim=-1, keepdim=True).clamp_min(1e-12)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(-1, keepdim=True)

    rotated = scale * (e - 2 * dot(r, e) * r + 2 * dot(p, e) * q)
    rotated = torch.where(fixed.norm(dim=-1, keepdim=True) < SHORT, e, rotated)  # no direction: straight through
    return code + (rotated - rotated.detach())  # exactly c, whatever the rounding of R


ESTIMATORS: dict[Estimator, Callable[[Tensor, Tensor], Tensor]] = {
    "straight_through": straight_through,
    "codebook": codebook,
    "both": both,
    "rotation": rotation,
}
