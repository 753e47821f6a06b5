"""Which lists and items are kept, where a config does not say."""

from typing import Literal

from lightning_vq.errors import UserError
from lightning_vq.sources.list_sources import LISTS
from lightning_vq.sources.lists import Range

Protocol = Literal["halves", "next", "each"]
LONGEST = 200  # items of a history that are shown, as SASRec on ml-1m: attention's memory grows with their square
LEAST: dict[Protocol, int] = {"halves": 2, "next": 3, "each": 5}  # items of a list that can be trained on and tested


def kept_range(
    source: str, protocol: Protocol, min_length: int | None, max_length: int | None, min_item: int | None
) -> Range:
    """Return what is kept: what is asked for, else as the papers keep a named source of lists, else what there must be.

    Args: see ListData.

    Raises:
        UserError: a range that no list is in.
    """
    longest = None if protocol == "halves" else LONGEST
    papers = LISTS[source].kept if source in LISTS else Range(1, LEAST[protocol], longest)
    min_length = papers.min_length if min_length is None else min_length
    max_length = papers.max_length if max_length is None else max_length
    min_item = papers.min_item if min_item is None else min_item
    if min_item < 1:
        raise UserError(f"data.init_args.min_item is {min_item}; it must be at least 1")
    if min_length < LEAST[protocol]:
        raise UserError(
            f"data.init_args.min_length is {min_length}; protocol={protocol} needs lists of {LEAST[protocol]}"
        )
    shortest = min_length if protocol == "halves" else 1
    if max_length is not None and max_length < shortest:
        raise UserError(f"data.init_args.max_length is {max_length}; it must be at least {shortest}")
    return Range(min_item, min_length, max_length)
