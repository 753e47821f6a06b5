"""Nearest code under squared Euclidean distance: argmin |x - c|^2 = argmax (x . c - |c|^2 / 2).

No (B, K, D) tensor and no one-hot matrix is ever made; scores are formed in chunks that stay in cache. Always in
float32 or wider, under autocast too: in bfloat16 the two terms cancel to noise.
Shapes: B vectors, K codes, S subspaces, W width of a subspace, D = S * W dim.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from lightning_vq.errors import UserError

GPU_CHUNK_SCORES = 1 << 26  # a bound on memory only: 256 MiB
GROUP = 64  # codes of a group, see `_best`
CHUNK_SCORES = 1 << 20  # scores of one chunk: 4 MiB of float32; measured best of 2^14 to 2^24 on two cores


@torch.no_grad()
def nearest_code(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Return the index (...) int64 of the code (K, D) nearest to each vector (..., D), the lower one at a tie.

    Raises:
        UserError: a vector or a code is NaN or infinite (on a GPU an assertion of the device, which costs no wait).

    >>> nearest_code(torch.tensor([[0.9, 0.0], [0.1, 0.1]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    tensor([1, 0])
    """
    with torch.autocast(vectors.device.type, enabled=False):
        x, c = _wide(vectors.reshape(-1, vectors.shape[-1]), codebook)
        half_norms = c.square().sum(1).mul_(-0.5)  # (K,)
        _refuse_not_finite(half_norms)  # one infinite code among others would never be chosen
        if len(c) >= 4 * GROUP:  # whole groups: codes of score -inf fill the last one
            more = -len(c) % GROUP
            c, half_norms = pad(c, (0, 0, 0, more)), pad(half_norms, (0, more), value=-torch.inf)
        best = [_best(torch.addmm(half_norms, part, c.T)) for part in x.split(_rows(x, len(c)))]
        _refuse_not_finite(torch.cat([values for values, _ in best]))
        return torch.cat([indices for _, indices in best]).reshape(vectors.shape[:-1])


@torch.no_grad()
def nearest_codes(vectors: Tensor, codebooks: Tensor) -> Tensor:
    """Return for each part of a vector (..., S, W) the index (..., S) of the nearest code of its codebook (S, K, W).

    >>> books = torch.tensor([[[0.0], [1.0]], [[5.0], [3.0]]])
    >>> nearest_codes(torch.tensor([[[0.8], [3.9]], [[0.1], [4.2]]]), books)
    tensor([[1, 1],
            [0, 0]])
    """
    with torch.autocast(vectors.device.type, enabled=False):
        x, c = _wide(vectors.reshape(-1, *vectors.shape[-2:]).transpose(0, 1), codebooks)  # (S, B, W)
        codes = _nearest_scalar(x, c) if c.shape[2] == 1 else _nearest_part(x, c)
        return codes.T.reshape(vectors.shape[:-1])


def _best(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the highest of each row (B, K), and the first index where it stands.

    `max` along rows is not vectorized on CPU, `amax` is: groups are compared by amax, and only the group that wins is
    looked through. Half the time of `max`.
    """
    rows, k = scores.shape
    if k < 4 * GROUP or k % GROUP:
        values, indices = scores.max(1)
        return values, indices
    groups = k // GROUP
    group = scores.view(rows, groups, GROUP).amax(2).max(1).indices
    first = torch.arange(0, rows * groups, groups, device=scores.device)
    values, within = scores.view(-1, GROUP).index_select(0, first + group).max(1)
    return values, group * GROUP + within


def _nearest_part(x: Tensor, c: Tensor) -> Tensor:
    """Return (S, B) for x (S, B, W), c (S, K, W)."""
    half_norms = c.square().sum(2).mul_(-0.5)[:, None]  # (S, 1, K)
    _refuse_not_finite(half_norms)
    turned = c.transpose(1, 2)  # (S, W, K)
    best = [torch.baddbmm(half_norms, part, turned).max(2) for part in x.split(_rows(x, c.shape[0] * c.shape[1]), 1)]
    _refuse_not_finite(torch.cat([b.values for b in best], 1))
    return torch.cat([b.indices for b in best], 1)


def _nearest_scalar(x: Tensor, c: Tensor) -> Tensor:
    """Return (S, B) for numbers: a binary search between sorted codes, log K steps instead of K products."""
    _refuse_not_finite(x)
    _refuse_not_finite(c)
    ordered, index = c[..., 0].sort(dim=1, stable=True)  # (S, K); of equal codes the first is the lowest index
    places = torch.arange(ordered.shape[1], device=c.device).expand_as(ordered)
    other = ordered.diff(dim=1, prepend=ordered[:, :1]) != 0
    index = index.gather(1, (places * other).cummax(1).values)  # the first of equal codes
    borders = (ordered[:, 1:] + ordered[:, :-1]) / 2
    parts = x[..., 0].split(_rows(x, len(c)), 1)
    return torch.cat([index.gather(1, _below(borders, part.contiguous())) for part in parts], 1)


def _below(borders: Tensor, x: Tensor) -> Tensor:
    """Return how many of the sorted borders (S, K - 1) are below each number of x (S, B).

    On CPU `searchsorted` mispredicts a branch at every step: all numbers taking the same step at once is 2.7 times as
    fast, by whole vectors.
    """
    if x.device.type != "cpu":
        return torch.searchsorted(borders, x)
    steps = borders.shape[1].bit_length()
    size = (1 << steps) - 1  # borders of a full binary tree: infinite ones fill it
    flat = pad(borders, (0, size - borders.shape[1]), value=torch.inf).reshape(-1)
    first = (torch.arange(len(x), dtype=torch.int32) * size)[:, None]
    found, numbers = first.repeat(1, x.shape[1]).reshape(-1), x.reshape(-1)
    for step in reversed([1 << i for i in range(steps)]):
        found.add_(numbers > flat[step - 1 :].index_select(0, found), alpha=step)
    return (found.view_as(x) - first).long()


def _wide(x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(torch.promote_types(x.dtype, c.dtype), torch.float32)
    return x.to(wide), c.to(wide)


def _rows(x: Tensor, scores: int) -> int:
    return max(1, (CHUNK_SCORES if x.device.type == "cpu" else GPU_CHUNK_SCORES) // scores)


def _refuse_not_finite(values: Tensor) -> None:
    finite = torch.isfinite(values).all()
    if values.device.type != "cpu":
        torch._assert_async(finite)
    elif not finite:
        raise UserError("vectors to be quantized, or their codes, hold NaN or infinity")
