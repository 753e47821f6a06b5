"""Neighbours by pattern: the entities whose quantized vectors are nearest to a quantized vector, exactly.

DQRec, eq. 15-19. The groups of a DQ-VAE are orthogonal, so that the squared distance of two quantized vectors is a sum
over groups of distances between codes, |z - z'|^2 = sum_l T_l[c_l, c'_l]: tables of J x J numbers, whatever the width.
Entities of the same codes are one point, searched once. Ties go to the lower number.
Shapes: N entities, P points, M queries, L groups, J codes of each, k neighbours.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

BLOCK = 1 << 19  # distances that are held at a time: they stay in the cache
TABLE = 1 << 22  # numbers of a table of distances from codes to points


class Nearest(NamedTuple):
    """Neighbours, the nearest first."""

    rows: Tensor  # (M, k) int64 numbers of entities, -1 where there are fewer than k
    distances: Tensor  # (M, k) float32 squared, infinite there


def distinct(codes: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    """Return the distinct rows of codes (P, L), and the place (N,) there of each row.

    Args:
        codes: (N, L).
        sizes: how many codes each column chooses from (L).
    """
    _, place = torch.unique(codes[:, 0].long(), return_inverse=True)
    for column, size in zip(codes[:, 1:].long().unbind(1), sizes[1:]):
        _, place = torch.unique(place * size + column, return_inverse=True)  # below N * J, however many columns
    first = torch.full((int(place.max()) + 1,), len(codes), dtype=torch.int64)
    first.scatter_reduce_(0, place, torch.arange(len(codes)), "amin")
    return codes[first], place


def code_distances(books: Tensor) -> Tensor:
    """Return the squared distances (L, J, J) between the codes of each of L books (L, J, W)."""
    wide = books.detach().double()
    found = torch.empty(*wide.shape[:2], wide.shape[1], device=wide.device)
    for table, book in zip(found, wide):
        for row, code in zip(table, book):  # (J, W) at a time: all differences are W times the result
            row.copy_((book - code).square().sum(1))
    return found


class Patterns:
    """Entities known by their codes.

    Args:
        codes: (N, L) of entities.
        tables: (L, J, J) squared distances between codes.
    """

    def __init__(self, codes: Tensor, tables: Tensor) -> None:
        self.codes, self.tables = codes.long(), tables
        sizes = [tables.shape[1]] * tables.shape[0]
        points, place = distinct(self.codes, sizes)
        first = torch.full((len(points),), len(codes), dtype=torch.int64)
        first.scatter_reduce_(0, place, torch.arange(len(codes)), "amin")
        order = torch.argsort(first)  # a tie between points goes to the one whose first entity has the lower number
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order))
        self.points, place = points[order].T.contiguous(), rank[place]  # (L, P)
        self.members = torch.argsort(place, stable=True)  # (N,) of point after point, rising within each
        self.sizes = torch.bincount(place)  # (P,)
        self.starts = self.sizes.cumsum(0) - self.sizes

    def nearest(self, codes: Tensor, k: int) -> Nearest:
        """Return the k entities nearest to codes (M, L)."""
        codes = codes.long()
        best = torch.empty(len(codes), 0, dtype=torch.int64)  # of the points so far, distance and number in one
        groups, size = self.tables.shape[:2]
        for points in torch.arange(self.points.shape[1]).split(max(1, TABLE // (groups * size))):
            # Row l * J + c has the distances of code c of group l to the codes of all points.
            to_points = torch.cat([table[:, of] for table, of in zip(self.tables, self.points[:, points])])
            # Results go to places that are there before: small ones kept between large ones that are let go would
            # leave the memory in pieces.
            found, step = torch.empty(len(codes), min(k, len(points)), dtype=torch.int64), max(1, BLOCK // len(points))
            for block, out in zip(codes.split(step), found.split(step)):
                distances = embedding_bag(block + torch.arange(groups) * size, to_points, mode="sum")
                keys = distances.view(torch.int32).long() << 32  # floats above 0 are ordered as their bits are
                keys += points
                out.copy_(keys.topk(out.shape[1], dim=1, largest=False).values)
            best = torch.cat([best, found], dim=1)
            best = best.topk(min(k, best.shape[1]), dim=1, largest=False).values
        made = Nearest(torch.full((len(codes), k), -1), torch.full((len(codes), k), torch.inf))
        step = max(1, BLOCK // (k * k))
        for keys, *out in zip(best.split(step), made.rows.split(step), made.distances.split(step)):
            self._entities(keys & 0xFFFFFFFF, (keys >> 32).int().view(torch.float32), Nearest(*out))
        return made

    def _entities(self, points: Tensor, near: Tensor, out: Nearest) -> None:
        """Write the k nearest entities of the nearest points (M, up to k), whose distances are given, into `out`.

        No others can be among them: each point that is nearer than theirs has an entity that is nearer.
        """
        k = out.rows.shape[1]
        sizes = self.sizes[points].clamp_max(k)
        owners = torch.arange(len(points)).repeat_interleave(sizes.sum(1))
        flat = sizes.flatten()
        within = torch.arange(len(owners)) - (flat.cumsum(0) - flat).repeat_interleave(flat)
        entities = self.members[self.starts[points].flatten().repeat_interleave(flat) + within]
        value = near.flatten().repeat_interleave(flat)
        order = torch.argsort(entities)  # points of one distance share their places in order of number
        order = order[torch.argsort(value[order], stable=True)]
        order = order[torch.argsort(owners[order], stable=True)]
        entities, value, owners = entities[order], value[order], owners[order]
        counts = torch.bincount(owners, minlength=len(points))
        place = torch.arange(len(owners)) - (counts.cumsum(0) - counts)[owners]
        kept = place < k
        out.rows[owners[kept], place[kept]] = entities[kept]
        out.distances[owners[kept], place[kept]] = value[kept]


class Neighbours:
    """The entities nearest to all semantic ids that were asked for; each is searched once.

    Args:
        patterns: the entities.
        k: neighbours of each.
    """

    def __init__(self, patterns: Patterns, k: int) -> None:
        self.patterns, self.k = patterns, k
        self.codes = patterns.codes[:0].short()  # (P, L) distinct
        self.rows = torch.empty(0, k, dtype=torch.int32)  # (P, k) -1 where there are fewer

    def places(self, codes: Tensor) -> Tensor:
        """Return the rows (M,) int32 of `rows` that have the neighbours of codes (M, L). They stay where they are."""
        known, sizes = len(self.codes), [self.patterns.tables.shape[1]] * self.codes.shape[1]
        points, place = distinct(torch.cat([self.codes, codes.short()]), sizes)
        number = torch.full((len(points),), -1, dtype=torch.int64)
        number[place[:known]] = torch.arange(known)
        new = (number < 0).nonzero()[:, 0]
        number[new] = known + torch.arange(len(new))
        self.codes = torch.cat([self.codes, points[new]])
        self.rows = torch.cat([self.rows, self.patterns.nearest(points[new], self.k).rows.int()])
        return number[place[known:]].int()


def second_nearest(turned: Tensor, books: Tensor, codes: Tensor) -> Tensor:
    """Return the nearest code (..., L) of each group that is not the one at hand.

    Args:
        turned: (..., L, W) vectors as the groups see them.
        books: (L, J, W).
        codes: (..., L) at hand.
    """
    of = books.square().sum(2)
    known = codes.reshape(-1, codes.shape[-1]).long()  # (M, L)
    found, step = torch.empty_like(known, memory_format=torch.contiguous_format), max(1, BLOCK // of.numel())
    parts = (tensor.split(step) for tensor in (turned.reshape(-1, *turned.shape[-2:]), known, found))
    for vectors, at_hand, out in zip(*parts):
        far = torch.einsum("mlw,ljw->mlj", vectors, books).mul_(-2).add_(of)
        out.copy_(far.scatter_(-1, at_hand[..., None], torch.inf).argmin(-1))
    return found.view(codes.shape)


def latent_patterns(codes: Tensor, latent: Tensor) -> Iterator[Tensor]:
    """Return L times semantic ids (M, L), the l-th time with the second nearest code in group l (DQRec, eq. 17)."""
    for position in torch.arange(codes.shape[1]):
        yield codes.index_copy(1, position[None], latent[:, position, None])


def others(rows: Tensor, owners: Tensor, k: int) -> Tensor:
    """Return the columns (M, k) of the first k neighbours (M, k + 1) that are not the entity (M,) itself."""
    return torch.arange(k) + (rows[:, :k] == owners[:, None]).cumsum(1)  # it is there once at most


def without(rows: Tensor, owners: Tensor, k: int) -> Tensor:
    """Return the first k neighbours (M, k) of rows (M, k + 1) that are not the entity (M,) itself, -1 after the last.

    >>> without(torch.tensor([[4, 2, 7], [2, 4, -1]]), torch.tensor([2, 2]), 2)
    tensor([[ 4,  7],
            [ 4, -1]])
    """
    found = rows.gather(1, others(rows, owners, k))
    return found.masked_fill_(found == owners[:, None], -1)


def union(rows: Tensor) -> Tensor:
    """Return neighbours (M, Q), on CPU, sorted by number, each once, -1 in the place of the others.

    >>> union(torch.tensor([[4, 2, 4, -1]]))
    tensor([[-1,  2,  4, -1]])
    """
    ordered = torch.from_numpy(np.sort(rows.numpy(), axis=1))  # torch's takes several times as long
    again = torch.zeros_like(ordered, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return ordered.masked_fill_(again, -1)
