"""The planted world: a known category tree, and the interactions of users who follow it.

Items hang on the leaves of a tree; a user likes a few leaves, strays to their siblings, and sometimes follows
popularity anywhere. Popularity is a power law, some items are cold. The truth is kept, so that how well a learned
tree recovers it is a number. Shapes: U users, N items, E interactions.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lightning_vq.errors import UserError
from lightning_vq.sources.interactions import Array, Interactions, Metadata


class PlantedOptions(NamedTuple):
    """What the planted world looks like."""

    users: int = 2000
    items: int = 1000
    branching: tuple[int, ...] = (8, 5)  # children per node from the root down: 8 groups of 5 leaves
    mean_length: int = 30  # interactions of a user
    loyalty: float = 0.75  # share from the user's own leaves
    sibling: float = 0.15  # share from siblings of those leaves; the rest is from anywhere
    favourites: int = 2  # leaves that a user likes
    exponent: float = 0.8  # of the popularity power law
    cold: float = 0.1  # share of items at a hundredth of their popularity
    seed: int = 0


class World(NamedTuple):
    """The truth."""

    item_leaf: Array  # (N,) leaf of each item
    popularity: Array  # (N,) weight of each item
    user_leaves: Array  # (U, favourites) leaves that each user likes, the first most
    branching: tuple[int, ...]

    def levels(self, leaf: Array) -> dict[str, Array]:
        """Return the category of each leaf per level, finest first: {"leaf": ..., "group": ...} for two levels."""
        names = ["leaf", "group", *[f"above{i}" for i in range(1, len(self.branching))]]
        levels, node = {}, leaf
        for i, children in enumerate(reversed(self.branching)):
            levels[names[i]] = node
            node = node // children
        return levels


def make_world(options: PlantedOptions) -> World:
    """Draw the truth.

    Raises:
        UserError: an option out of its range.
    """
    for name in ("users", "mean_length", "favourites"):
        if getattr(options, name) < 1:
            raise UserError(f"planted.{name} is {getattr(options, name)}; it must be at least 1")
    for name in ("loyalty", "sibling", "cold"):
        if not 0 <= getattr(options, name) <= 1:
            raise UserError(f"planted.{name} is {getattr(options, name)}; it must be a share between 0 and 1")
    if options.seed < 0:
        raise UserError(f"planted.seed is {options.seed}; it must not be negative")
    if min(options.branching, default=0) < 1:
        raise UserError(f"planted.branching {options.branching} must name at least one level, each of at least one")
    rng = np.random.default_rng([options.seed, 1])
    leaves = int(np.prod(options.branching))
    # A user has at most a fourth of the items, and at least 5 are wanted of her.
    if options.items < max(leaves, 20):
        raise UserError(
            f"planted.items is {options.items}; it must be at least 20 and at least the {leaves} leaves of branching"
        )
    item_leaf = rng.permutation(np.arange(options.items) % leaves)
    popularity = (np.arange(options.items) + 5.0) ** -options.exponent
    popularity[rng.random(options.items) < options.cold] *= 0.01
    # A favourite is near the first one half of the time, so that users have a tree as well.
    first = rng.integers(leaves, size=options.users)
    siblings = options.branching[-1]
    near = first[:, None] // siblings * siblings + rng.integers(siblings, size=(options.users, options.favourites - 1))
    far = rng.integers(leaves, size=(options.users, options.favourites - 1))
    others = np.where(rng.random(far.shape) < 0.5, near, far)
    return World(item_leaf, popularity, np.column_stack([first, others]), tuple(options.branching))


def planted_interactions(options: PlantedOptions) -> Interactions:
    """Draw time-stamped interactions, no (user, item) twice, at least three a user.

    Raises:
        UserError: an option out of its range, or a user whose leaves hold too few items.
    """
    world = make_world(options)
    rng = np.random.default_rng([options.seed, 2])
    siblings = options.branching[-1]
    leaves = int(np.prod(options.branching))
    items_of = [np.flatnonzero(world.item_leaf == leaf) for leaf in range(leaves)]
    cumulative = [np.cumsum(world.popularity[i]) / world.popularity[i].sum() for i in items_of]

    wanted = np.clip(rng.lognormal(np.log(options.mean_length) - 0.18, 0.6, options.users), 5, options.items // 4)
    drawn = (wanted * 1.6).astype(np.int64) + 8  # repeats will be dropped
    users = np.repeat(np.arange(options.users), drawn)
    choice = np.minimum(rng.geometric(0.6, len(users)) - 1, options.favourites - 1)
    leaf = world.user_leaves[users, choice]
    kind = rng.random(len(users))
    leaf = np.where(kind > options.loyalty, leaf // siblings * siblings + rng.integers(siblings, size=len(users)), leaf)
    leaf = np.where(kind > options.loyalty + options.sibling, rng.integers(leaves, size=len(users)), leaf)
    items = np.empty(len(users), dtype=np.int64)
    where = rng.random(len(users))
    for one in range(leaves):
        rows = leaf == one
        items[rows] = items_of[one][np.searchsorted(cumulative[one], where[rows])]

    _, first = np.unique(users * options.items + items, return_index=True)
    first.sort()
    users, items = users[first], items[first]
    position = np.arange(len(users)) - np.searchsorted(users, users)
    keep = position < wanted[users]
    users, items, position = users[keep], items[keep], position[keep]
    fewest = np.bincount(users, minlength=options.users).min()
    if fewest < 3:
        raise UserError(
            f"planted: a user found only {fewest} items that she likes, and needs 3; raise planted.items "
            f"({options.items}) or lower planted.loyalty ({options.loyalty})"
        )
    time = 1_600_000_000 + rng.integers(0, 10_000_000, options.users)[users] + position * 3600
    shuffled = np.argsort(time, kind="stable")
    users, items, time = users[shuffled], items[shuffled], time[shuffled]
    truth = world.levels(world.item_leaf)
    coarsest = list(truth)[-1]
    return Interactions(
        where="planted",
        user_ids=pa.array([f"u{i}" for i in range(options.users)]),
        item_ids=pa.array([f"i{i}" for i in range(options.items)]),
        users=users,
        items=items,
        order=time,
        split=None,
        row_number=np.arange(len(users)) + 1,
        item_categories=truth,
        user_categories=world.levels(world.user_leaves[:, 0]),
        item_metadata=Metadata([None] * options.items, [[f"{coarsest} {node}"] for node in truth[coarsest]]),
    )
