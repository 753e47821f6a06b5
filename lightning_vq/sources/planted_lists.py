"""Lists in the planted world: each stays mostly in one coarse category, so that learned trees can be held against it.

A list has a home, a node of the coarsest level, and walks among its leaves: the next item is from the leaf of the last
step with probability `loyalty`, from any leaf of the home, which is then walked on from, with `sibling`, and else from
anywhere at all, after which the walk goes on as if nothing had been. Within a leaf items are taken by popularity, and
none twice. Shapes: L lists, E entries, N items.
"""

import numpy as np
import pyarrow as pa

from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Array, Metadata
from lightning_vq.sources.lists import RawLists, starts_of
from lightning_vq.sources.planted import PlantedOptions, make_world

LEAST = 4  # items of a list: a half of two is a list too


def planted_lists(options: PlantedOptions) -> RawLists:
    """Draw lists: as many as the world has users, whose mean length they have; `favourites` says nothing here.

    Raises:
        UserError: an option out of its range, or a list whose home holds too few items.
    """
    world = make_world(options)
    rng = np.random.default_rng([options.seed, 5])
    wanted = np.clip(rng.lognormal(np.log(options.mean_length) - 0.18, 0.6, options.users), 5, options.items // 4)
    drawn = (wanted * 1.6).astype(np.int64) + 8  # repeats will be dropped
    owners = np.repeat(np.arange(options.users), drawn)
    step = rng.random(len(owners))
    leaves, homes = int(np.prod(options.branching)), options.branching[0]
    inside = leaves // homes
    home = rng.integers(homes, size=options.users)[owners]
    # The leaf of a step is that of the last move, of which the first entry of a list is always one.
    moves = (step >= options.loyalty) & (step < options.loyalty + options.sibling)
    moves[starts_of(drawn)[:-1]] = True
    target = home * inside + rng.integers(inside, size=len(owners))
    leaf = target[np.maximum.accumulate(np.where(moves, np.arange(len(owners)), 0))]
    strays = (step >= options.loyalty + options.sibling) & ~moves
    items = _items(world.item_leaf, world.popularity, leaf, strays, rng.random(len(owners)))

    _, first = np.unique(owners * options.items + items, return_index=True)
    first.sort()
    owners, items = owners[first], items[first]
    place = np.arange(len(owners)) - np.searchsorted(owners, owners)
    keep = place < wanted[owners]
    owners, items = owners[keep], items[keep]
    lengths = np.bincount(owners, minlength=options.users)
    if lengths.min() < LEAST:
        raise UserError(
            f"planted: a list found only {lengths.min()} items that fit it, and needs {LEAST}; raise planted.items "
            f"({options.items}) or lower planted.loyalty ({options.loyalty})"
        )
    truth = world.levels(world.item_leaf)
    coarsest = list(truth)[-1]
    return RawLists(
        "planted",
        pa.array([f"l{i}" for i in range(options.users)]),
        pa.array([f"i{i}" for i in range(options.items)]),
        starts_of(lengths),
        items,
        item_categories=truth,
        item_metadata=Metadata([None] * options.items, [[f"{coarsest} {node}"] for node in truth[coarsest]]),
    )


def _items(item_leaf: Array, popularity: Array, leaf: Array, strays: Array, place: Array) -> Array:
    """Return an item (E,) of each leaf (E,) by popularity; strays (E,) are from anywhere.

    Args:
        item_leaf: (N,).
        popularity: (N,) weights.
        leaf, strays: (E,).
        place: (E,) uniform draws.
    """
    order = np.argsort(item_leaf, kind="stable")
    weight = np.concatenate([[0.0], np.cumsum(popularity[order])])
    ends = starts_of(np.bincount(item_leaf))  # in `order`, of each leaf
    low = np.where(strays, 0, ends[leaf])
    high = np.where(strays, len(order), ends[leaf + 1])
    aim = weight[low] + place * (weight[high] - weight[low])
    found = np.searchsorted(weight, aim, side="right") - 1
    return order[np.clip(found, low, high - 1)]
