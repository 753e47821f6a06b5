"""What there is to tell of a source: how much, from when to when, how long its lists are."""

from datetime import UTC, datetime

import numpy as np

from lightning_vq.sources.clicks import click_source, tally
from lightning_vq.sources.interactions import Interactions, core
from lightning_vq.sources.lists import Range, RawLists, filtered, qualifying
from lightning_vq.sources.relevance import RawRelevance


def counts(raw: Interactions) -> tuple[int, int, int]:
    """Return interactions, users and items."""
    return len(raw.users), len(np.unique(raw.users)), len(np.unique(raw.items))


def told(of: tuple[int, int, int]) -> str:
    """Return counts in words."""
    interactions, users, items = of
    return f"{interactions:,} interactions, {users:,} users, {items:,} items"


def samples_told(name: str, root: str | None) -> list[str]:
    """Return what there is to tell of a source's samples for click-through rate."""
    feed, schema = click_source(name, root)
    found, split = tally(feed, schema)
    share = f"{found.clicks / found.samples:.2%}"
    lines = [f"samples   {found.samples:,}, {found.clicks:,} of them clicked ({share})", f"fields    {found.fields}"]
    if schema.numeric:
        lines.append(f"numbers   {', '.join(schema.numeric)}")
    if schema.sequence:
        lines.append("sequences " + ", ".join(f"{name} (of {vocab})" for name, vocab in schema.sequence.items()))
    if split:
        lines.append("split     " + ", ".join(f"{part} {split.get(part, 0):,}" for part in ("train", "dev", "test")))
    return lines


def lists_told(raw: RawLists, kept: Range, expected: str | None = None) -> list[str]:
    """Return what there is to tell of lists.

    Args:
        raw: unfiltered.
        kept: what stays.
        expected: a line on what should be left, where that is known.

    Raises:
        UserError: nothing is left.
    """
    left = filtered(raw, kept)
    lengths = left.lengths
    shares = ", ".join(f"{qualifying(lengths, k):,} have {k} or more" for k in (5, 10))
    lines = [
        f"before    {raw.counts.told}",
        f"after     {left.counts.told} ({kept.told})",
        *([expected] if expected else []),
        f"a list    {lengths.min()} to {lengths.max():,} items, median {int(np.median(lengths))}",
        f"halves    of {len(lengths):,} targets {shares}: metrics @k are of these lists alone",
    ]
    if left.creators is not None:
        known = left.creators.drop_null()
        lines.append(f"creators  {len(known.unique()):,} of {len(known):,} lists")
    return lines


def pairs_told(raw: RawRelevance) -> list[str]:
    """Return lines on scored pairs."""
    scores = raw.scores
    return [
        f"holds     {len(raw.user_ids):,} items, {len(raw.item_ids):,} related ones, {len(scores):,} scored pairs",
        f"scores    {scores.min():g} to {scores.max():g}, mean {scores.mean():.4g}, deviation {scores.std():.4g}",
    ]


def interactions_told(raw: Interactions, least_user: int, least_item: int) -> tuple[Interactions, list[str]]:
    """Return what is kept, and what there is to tell of it.

    Raises:
        UserError: nothing is left.
    """
    before = counts(raw)
    kept = core(raw, least_user, least_item)
    after, lengths = counts(kept), np.bincount(kept.users)
    lines = [
        f"before    {told(before)}; {100 * before[0] / (before[1] * before[2]):.3f} % dense",
        f"after     {told(after)} (min_user={least_user}, min_item={least_item})",
        f"a user    {lengths.min()} to {lengths.max():,} interactions, median {int(np.median(lengths))}",
        f"times     {_period(kept)}",
    ]
    few = int((lengths < 3).sum())
    if kept.split is None and few:
        lines.append(
            f"          {few:,} users have fewer than 3, which split=leave_one_out refuses: min_user=3 drops them"
        )
    if kept.split is not None:
        shares = ", ".join(f"{part} {(kept.split == part).sum():,}" for part in ("train", "dev", "test"))
        lines.append(f"split     {shares}")
    for part, (users, negatives) in kept.negatives.items():
        lines.append(f"stored    {negatives.shape[1]} negatives for each of {len(users):,} {part} users")
    if raw.negatives and not kept.negatives:
        lines.append("stored    negatives name dropped items or users: evaluation draws its own")
    unseen = len(kept.item_ids) - after[2]
    if unseen:
        why = "that only stored negatives name" if kept.negatives else "without an interaction"
        lines.append(
            f"unseen    {unseen:,} items {why}; a fit ranks them like any other: {len(kept.item_ids):,} in all"
        )
    if kept.relations:
        lines.append("relations " + ", ".join(f"{name} {len(heads):,}" for name, (heads, _) in kept.relations.items()))
    return kept, lines


def _period(of: Interactions) -> str:
    """Return from when to when interactions are, as dates where the numbers are seconds or parts of them since 1970."""
    if of.order is None:
        return "none: the order of the rows"
    first, last = of.order.min(), of.order.max()
    if not of.clock:
        return f"none: each user's own order, {first} to {last}"
    least, most = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (1990, 2100))
    for unit in (1, 10**3, 10**6, 10**9):
        if least <= np.median(of.order) / unit < most:  # a date or two may be wrong
            strange = int(((of.order / unit < least) | (of.order / unit >= most)).sum())
            note = f"; {strange:,} of them before 1990 or after 2099" if strange else ""
            return f"{_day(first / unit)} to {_day(last / unit)}{note}"
    return f"{first} to {last}"


def _day(seconds: float) -> str:
    """Return the day of a time; what it is in seconds since 1970 where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f}"
