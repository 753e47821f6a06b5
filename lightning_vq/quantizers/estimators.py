"""Gradient estimators: each returns the value of the code and says where its gradient goes.

Shapes: e (..., D) vectors of entities, c (..., D) their code vectors, g the gradient that arrives.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn.functional import normalize

Estimator = Literal["straight_through", "codebook", "both", "rotation"]


def straight_through(e: Tensor, c: Tensor) -> Tensor:
    """Value c, de = g, dc = 0: codes learn from L_quant alone (CAGE eq. 6; van den Oord et al. 2017)."""
    return c.detach() + (e - e.detach())


def codebook(e: Tensor, c: Tensor) -> Tensor:
    """Value c, de = 0, dc = g: codes learn from the task too, the entity only through its own vector."""
    return c


def both(e: Tensor, c: Tensor) -> Tensor:
    """Value c, de = g, dc = g."""
    return c + (e - e.detach())


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
    return code + (rotated - rotated.detach())  # exactly c, whatever the rounding of R


ESTIMATORS: dict[Estimator, Callable[[Tensor, Tensor], Tensor]] = {
    "straight_through": straight_through,
    "codebook": codebook,
    "both": both,
    "rotation": rotation,
}
