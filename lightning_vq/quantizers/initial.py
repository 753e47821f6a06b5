"""Where codes start. On a table at N(0, 0.01^2), codes at N(0, 1) leave one code in use: scale decides collapse."""

from typing import Literal

import torch
from torch import Tensor

from lightning_vq.errors import UserError
from lightning_vq.quantizers.kmeans import kmeans

Init = Literal["table_std", "normal", "kmeans", "data"]
WAITS: tuple[Init, ...] = ("kmeans", "data")  # taken from a table that is still noise, these are noise


@torch.no_grad()
def first_codes(init: Init, vectors: Tensor, codes: int, weights: Tensor | None = None) -> Tensor:
    """Return K first codes (K, D) for vectors (N, D); draws from the global torch generator.

    Args:
        init: "table_std": N(0, s^2) with s the vectors' standard deviation; "normal": N(0, 1); "kmeans": centres of
            the vectors; "data": random ones of the vectors. The last two wait for a warm-up (see the callback).
        vectors: (N, D).
        codes: K.
        weights: (N,) how many entities each vector stands for, for k-means.

    Raises:
        UserError: "kmeans" or "data" from fewer vectors than codes.
    """
    if init in WAITS and codes > len(vectors):
        raise UserError(f"init {init!r} cannot make {codes} codes of {len(vectors)} vectors")
    if init == "kmeans":
        return kmeans(vectors, codes, weights)[0]
    if init == "data":
        return vectors[torch.randperm(len(vectors), device=vectors.device)[:codes]]
    std = vectors.std() if init == "table_std" and vectors.numel() > 1 else 1.0
    return torch.randn(codes, vectors.shape[1], dtype=vectors.dtype, device=vectors.device) * std
