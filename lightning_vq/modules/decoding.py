"""Decoding of lists: what each position to come would take, item by item or in one pass.

Shapes: B lists, T items, P positions to come at most, K choices of a position, D dim, N items.
"""

import torch
from torch import Tensor

from lightning_vq.backbones.lists import Autoregressive, ListBackbone, Parallel
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup


def given(items: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return the given items (B, most of them) and those to come (B, most of them) of lists (B, T), -1 after the last.

    >>> given(torch.tensor([[5, 6, 7, 8], [3, 2, -1, -1]]), torch.tensor([2, 1]))
    (tensor([[ 5,  6],
            [ 3, -1]]), tensor([[ 7,  8],
            [ 2, -1]]))
    """
    places = torch.arange(items.shape[1], device=items.device)
    counts = (items >= 0).sum(1) - known
    inputs = torch.where(places < known[:, None], items, -1)[:, : int(known.max())]
    later = places[: int(counts.max())] + known[:, None]
    there = places[: int(counts.max())] < counts[:, None]
    return inputs, torch.where(there, items.gather(1, later.clamp_max(items.shape[1] - 1)), -1)


def choices(
    backbone: ListBackbone, look: Lookup, inputs: Tensor, counts: Tensor, depth: int, creators: Tensor | None = None
) -> Tensor:
    """Return the best items (B, P, K) of each position to come.

    An autoregressive backbone is fed its own first choice at each position. The given items may be chosen again.

    Args:
        backbone: that scores.
        look: the tables.
        inputs: (B, T) given items, -1 after the last.
        counts: (B,) how many are to come.
        depth: K, at most N.
        creators: (B,) see Lists.
    """
    keys, bias = backbone.keys(look)  # of all items, before any vector that comes in
    positions = int(counts.max())
    if isinstance(backbone, Parallel):
        hidden = backbone.fill(look, inputs, counts)
        found = [_best(backbone, hidden[:, i], keys, bias, depth) for i in range(positions)]
        return torch.stack(found, 1)
    assert isinstance(backbone, Autoregressive)
    hidden, state = backbone.begin(look, inputs, creators)
    found = [_best(backbone, hidden, keys, bias, depth)]
    while len(found) < positions:
        hidden, state = backbone.advance(look, state, found[-1][:, 0])
        found.append(_best(backbone, hidden, keys, bias, depth))
    return torch.stack(found, 1)


def next_hidden(backbone: ListBackbone, look: Lookup, inputs: Tensor, creators: Tensor | None = None) -> Tensor:
    """Return the hidden vector (B, D) of the next item after those given (B, T); for creators (B,) see Lists."""
    if isinstance(backbone, Parallel):
        return backbone.fill(look, inputs, torch.ones_like(inputs[:, 0]))[:, 0]
    assert isinstance(backbone, Autoregressive)
    return backbone.begin(look, inputs, creators)[0]


def whole_scores(backbone: ListBackbone, hidden: Tensor, keys: Tensor, bias: Tensor | None) -> Tensor:
    """Return scores (B, N) in single precision under autocast too: in half of it, items tie by the dozen.

    Raises:
        UserError: they are no numbers.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        scores = backbone.scores(hidden.float(), keys.float(), None if bias is None else bias.float())
    if not torch.isfinite(scores.sum()):
        raise UserError(f"evaluation stopped: scores {tuple(scores.shape)} hold NaN or infinity")
    return scores


def _best(backbone: ListBackbone, hidden: Tensor, keys: Tensor, bias: Tensor | None, depth: int) -> Tensor:
    """Return the best items (B, K); of equal ones the one that torch has first."""
    return whole_scores(backbone, hidden, keys, bias).topk(min(depth, len(keys)), dim=1).indices
