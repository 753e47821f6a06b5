"""Named sources as lists: how their folders are read, what range papers keep of them, and what then is left."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lightning_vq.errors import UserError, nearest
from lightning_vq.sources.list_files import read_folder_of_lists
from lightning_vq.sources.lists import ListCounts, Range, RawLists, histories
from lightning_vq.sources.named import SOURCES, located, named_source
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.sources.planted_lists import planted_lists
from lightning_vq.sources.readers import lists_only, no_interactions


class ListSource(NamedTuple):
    """A named source of lists."""

    read: Callable[[Path], RawLists]
    kept: Range  # of the papers
    expected: ListCounts  # with that range
    reached: bool = True  # from files as these are; else it stands in CAGE's table 5, and nobody here has the files


LISTS = {
    "aotm": ListSource(read_folder_of_lists, Range(10, 10, 60), ListCounts(12_940, 6_264, 162_106)),
    "attlist-spotify": ListSource(read_folder_of_lists, Range(10, 20, 300), ListCounts(3_310, 12_527, 261_708)),
    "zhihu": ListSource(read_folder_of_lists, Range(10, 10, 200), ListCounts(18_704, 36_005, 927_781), False),
    "spotify": ListSource(read_folder_of_lists, Range(10, 20, 300), ListCounts(72_152, 104_695, 6_809_820), False),
    "goodreads": ListSource(read_folder_of_lists, Range(10, 20, 300), ListCounts(15_426, 47_877, 1_589_480), False),
}


def list_source(name: str, root: str | None) -> RawLists:
    """Return the lists of a named source, downloading it where it is not on disk; of interactions the histories.

    Args:
        name: "planted" or a named source that has lists or ordered interactions.
        root: folder of named sources; else $LIGHTNING_VQ_DATA, else ~/.cache/lightning_vq.

    Raises:
        UserError: there is no such source, or none of lists, or it cannot be downloaded.
    """
    if name == "planted":
        return planted_lists(PlantedOptions())
    source = named_source(name)
    if name in LISTS:
        return LISTS[name].read(located(source, root))
    if source.read is no_interactions:
        names = ["planted", *LISTS, *(one.name for one in SOURCES if one.read not in (no_interactions, lists_only))]
        raise UserError(f"{name} has neither lists nor interactions in an order{nearest(name, names)}")
    return histories(source.read(located(source, root)))
