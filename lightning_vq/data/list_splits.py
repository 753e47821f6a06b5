"""What of lists is trained on and what is held out: halves of whole lists, or the next item of each.

Shapes: L lists, E entries of all of them, M stretches, N items.
"""

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from lightning_vq.data.list_loader import Stretches
from lightning_vq.data.negatives import KnownPairs
from lightning_vq.data.shares import Split, divided
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.sources.lists import RawLists


def halves(raw: RawLists, ratio: tuple[float, float, float], seed: int) -> dict[int, Stretches]:
    """Return whole lists by part; the first half of each, rounded down, is given.

    Args:
        raw: lists of two items at least.
        ratio: shares of train, dev and test.
        seed: of the split.

    Raises:
        UserError: there are too few lists for three parts.
    """
    items, starts = torch.from_numpy(raw.items), torch.from_numpy(raw.starts)
    nothing, count = np.empty(0), len(raw.list_ids)
    try:
        part_of = divided(raw.where, Split("ratio", ratio, seed), count, nothing, nothing, nothing)
    except UserError:
        told = f"of {count:,} lists a part is empty with the ratio {list(ratio)}"
        raise UserError(f"{raw.where}: {told}; are most lists shorter than min_length?") from None
    parts, lengths = {}, starts.diff()
    for part in (TRAIN, DEV, TEST):
        rows = torch.from_numpy(np.flatnonzero(part_of == part))
        parts[part] = Stretches(items, starts[rows], lengths[rows], lengths[rows] // 2, rows)
    return parts


def leave_one_out(raw: RawLists, most: int | None) -> dict[int, Stretches]:
    """Return for test every list, for dev every one less its last item, for training less two; all but the last item
    are given. Of lists with three items none is trained on: one item has none before it.

    Args:
        raw: lists of three items at least.
        most: items that are given at most, the last ones; None: all.
    """
    items, starts = torch.from_numpy(raw.items), torch.from_numpy(raw.starts)
    lengths, cases = starts.diff(), torch.arange(len(raw.list_ids))
    parts = {}
    for part, held in ((TRAIN, 2), (DEV, 1), (TEST, 0)):
        ends, shown = starts[1:] - held, lengths - held
        if most is not None:
            shown = shown.clamp_max(most + 1)  # and the one to be predicted
        rows = (shown >= 2).nonzero().squeeze(1)
        parts[part] = Stretches(items, (ends - shown)[rows], shown[rows], shown[rows] - 1, cases[rows])
    return parts


def each_next(raw: RawLists, ratio: tuple[float, float, float], most: int | None) -> dict[int, Stretches]:
    """Return for dev and test one stretch for each of the last shares of every history, all but its last item given,
    sorted by history and item; for training the first share, cut where it is longer than is shown.

    Args:
        raw: lists.
        ratio: shares of train, dev and test.
        most: items that are given at most, the last ones; None: all.

    Raises:
        UserError: histories are so short that a part is empty.
    """
    items, starts = torch.from_numpy(raw.items), torch.from_numpy(raw.starts)
    lengths = starts.diff()
    lists = torch.arange(len(lengths)).repeat_interleave(lengths)
    places = torch.arange(len(items)) - starts[lists]
    share = (places + 0.5).double() / lengths[lists]
    ends = torch.tensor([ratio[0], ratio[0] + ratio[1]], dtype=torch.float64) / sum(ratio)
    part_of = torch.bucketize(share, ends, right=True)
    parts = {}
    most = int(lengths.max()) if most is None else most
    for part in (DEV, TEST):
        at = (part_of == part).nonzero()[:, 0]
        if not len(at):
            name, told = ("dev", "test")[part == TEST], list(ratio)
            raise UserError(f"{raw.where}: the {name} part is empty: no history is long enough for the ratio {told}")
        at = at[torch.argsort(lists[at] * len(raw.item_ids) + items[at])]
        shown = places[at].clamp_max(most) + 1
        parts[part] = Stretches(items, at + 1 - shown, shown, shown - 1, lists[at])
    trained = torch.bincount(lists[part_of == TRAIN], minlength=len(lengths))
    first = ((part_of == TRAIN) & (places % (most + 1) == 0)).nonzero()[:, 0]
    length = (trained[lists[first]] - places[first]).clamp_max(most + 1)
    kept = length >= 2
    if not kept.any():
        raise UserError(f"{raw.where}: the train part is empty: no history has two items in the share {ratio[0]} of it")
    parts[TRAIN] = Stretches(items, first[kept], length[kept], length[kept] - 1, lists[first[kept]])
    return parts


def whole_lists(raw: RawLists) -> Stretches:
    """Return every list, all of it."""
    starts = torch.from_numpy(raw.starts)
    lengths = starts.diff()
    return Stretches(torch.from_numpy(raw.items), starts[:-1], lengths, lengths, torch.arange(len(lengths)))


def known_pairs(raw: RawLists, stretches: Stretches, key: str) -> KnownPairs:
    """Return which items stretches (M,) of lists hold.

    Args:
        raw: the lists.
        stretches: of them.
        key: the option of the data that asks for negatives, for messages.

    Raises:
        UserError: one holds all items.
    """
    owners = torch.arange(len(stretches.lengths)).repeat_interleave(stretches.lengths)
    items = stretches.items[entries(stretches.begins, stretches.lengths)]
    names = raw.list_ids.take(pa.array(stretches.cases.numpy()))
    try:
        return KnownPairs(owners, items, len(raw.item_ids), raw.where, names)
    except UserError as error:
        raise UserError(f"{error}; or data.init_args.{key}=0 (a list is a user here)") from None


def before(stretches: Stretches, rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Return all that stands in histories before the last item of some stretches (B,): stretch of them, and item.

    Args:
        stretches: of the histories, each the last items that are shown.
        rows: which.
        starts: (L + 1,) where histories begin.
    """
    begins = starts[stretches.cases[rows]]
    counts = stretches.begins[rows] + stretches.lengths[rows] - 1 - begins
    return torch.arange(len(rows)).repeat_interleave(counts), stretches.items[entries(begins, counts)]


def occurrences(stretches: Stretches, items: int) -> Tensor:
    """Return how often each item (N,) stands in stretches."""
    return torch.bincount(stretches.items[entries(stretches.begins, stretches.lengths)], minlength=items)


def entries(begins: Tensor, lengths: Tensor) -> Tensor:
    """Return the places of all entries of stretches that begin at (M,) and are of lengths (M,), one after the other."""
    shift = begins - (lengths.cumsum(0) - lengths)
    return shift.repeat_interleave(lengths) + torch.arange(int(lengths.sum()))
