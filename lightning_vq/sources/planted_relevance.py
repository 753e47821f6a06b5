"""Relevance in the planted world: scores of pairs of items, of which the best possible RMSE is known.

The true relevance of a pair rises evenly with the levels of the tree that its items share, from LOW for none of them to
HIGH for one leaf. Its score is off by noise that is uniform between minus and plus NOISE, so that scores fill
[-100, 100] and none is cut off: whoever knows the truth still has the noise's deviation as RMSE, and nobody less.

An item is asked about as often as it is popular; the other one is drawn by popularity below a node of the tree above
it, each level alike, so that close pairs are not rare. No pair is scored twice, in either order: its reverse would tell
it. Shapes: E pairs, N items.
"""

import numpy as np
import pyarrow as pa

from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Array
from lightning_vq.sources.planted import PlantedOptions, World, make_world
from lightning_vq.sources.relevance import RawRelevance

LOW, HIGH = -60.0, 60.0  # true relevance of items that share nothing but the root, and of items of one leaf
NOISE = 40.0
BEST_RMSE = NOISE / 3**0.5  # the deviation of uniform noise
SPARE = 4  # pairs drawn for each that is wanted: repeats are dropped


def true_relevance(world: World, items: Array, others: Array) -> Array:
    """Return the true relevance (E,) of pairs of items (E,)."""
    shared = sum((level[items] == level[others]).astype(float) for level in world.levels(world.item_leaf).values())
    relevance: Array = LOW + (HIGH - LOW) * shared / len(world.branching)
    return relevance


def planted_relevance(options: PlantedOptions) -> RawRelevance:
    """Draw scored pairs, `mean_length` of them an item; of the options users, loyalty, sibling, favourites say nothing.

    Raises:
        UserError: an option out of its range, or too few items for so many pairs.
    """
    world = make_world(options)
    rng = np.random.default_rng([options.seed, 6])
    wanted = options.items * options.mean_length
    items, others = _pairs(world, SPARE * wanted, rng)
    pairs = np.minimum(items, others) * options.items + np.maximum(items, others)
    _, first = np.unique(pairs, return_index=True)
    first = np.sort(first[items[first] != others[first]])[:wanted]
    if len(first) < wanted:
        raise UserError(
            f"planted: {len(first):,} pairs of items were found of the {wanted:,} wanted, planted.mean_length "
            f"({options.mean_length}) for each item; lower it or raise planted.items ({options.items})"
        )
    items, others = items[first], others[first]
    truth = true_relevance(world, items, others)
    names = pa.array([f"i{i}" for i in range(options.items)])
    return RawRelevance(
        where="planted",
        user_ids=names,
        item_ids=names,
        users=items,
        items=others,
        scores=truth + rng.uniform(-NOISE, NOISE, wanted),
        rows=np.arange(wanted),
        truth=truth,
        categories=world.levels(world.item_leaf),
    )


def _pairs(world: World, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw pairs of items, with repeats."""
    order = np.argsort(world.item_leaf, kind="stable")  # what is below a node is a stretch of it
    weight = np.append(0.0, np.cumsum(world.popularity[order]))
    ends = np.append(0, np.cumsum(np.bincount(world.item_leaf)))  # in `order`, of each leaf
    widths = np.cumprod([1, *reversed(world.branching)])  # leaves below a node of each level, a leaf's own first

    def drawn(low: Array, high: Array) -> Array:
        """Return an item of each stretch of `order`, by popularity."""
        aim = weight[low] + rng.random(count) * (weight[high] - weight[low])
        place = np.searchsorted(weight, aim, side="right") - 1
        return order[np.clip(place, low, high - 1)]

    items = drawn(np.zeros(count, np.int64), np.full(count, len(order)))
    width = widths[rng.integers(len(widths), size=count)]
    node = world.item_leaf[items] // width * width  # its first leaf
    return items, drawn(ends[node], ends[node + width])
