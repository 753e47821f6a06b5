"""Neighbours by pattern against brute force in float64."""

import pytest
import torch

from lightning_vq.quantizers import neighbours
from lightning_vq.quantizers.neighbours import (
    Nearest,
    Neighbours,
    Patterns,
    code_distances,
    distinct,
    latent_patterns,
    second_nearest,
    union,
    without,
)

L, J, W = 3, 6, 4


def world(entities: int = 300, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return books, codes of entities and what these stand for; of 216 semantic ids some have several entities."""
    g = torch.Generator().manual_seed(seed)
    books, codes = torch.randn(L, J, W, generator=g), torch.randint(J, (entities, L), generator=g)
    return books, codes, decoded(books, codes)


def decoded(books: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return torch.cat([book[column] for book, column in zip(books, codes.unbind(1))], 1).double()


@pytest.mark.parametrize("table", [1 << 22, 1 << 7])  # all points at once, and few at a time
@pytest.mark.parametrize("k", [1, 7, 40])
def test_nearest_equal_brute_force(table: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TABLE", table)
    monkeypatch.setattr(neighbours, "BLOCK", 1 << 9)
    books, codes, vectors = world()
    queries = torch.randint(J, (50, L), generator=torch.Generator().manual_seed(1))
    expected = (decoded(books, queries)[:, None] - vectors).square().sum(2).float()
    values, rows = expected.sort(dim=1, stable=True)
    found = Patterns(codes, code_distances(books)).nearest(queries, k)
    torch.testing.assert_close(found.distances, values[:, :k], atol=1e-5, rtol=1e-5)
    same = found.rows == rows[:, :k]
    near = (values[:, :k] - expected.gather(1, found.rows)).abs() < 1e-5
    assert bool((same | near).all())
    assert bool(same.float().mean() > 0.99)


def test_ties_go_to_the_lower_number_across_semantic_ids() -> None:
    books = torch.tensor([[[0.0], [1.0], [-1.0]]])  # codes 1 and 2 are as far from code 0
    codes = torch.tensor([[2], [1], [0], [1], [2], [0]])
    found = Patterns(codes, code_distances(books)).nearest(torch.tensor([[0]]), 5)
    assert found.rows.tolist() == [[2, 5, 0, 1, 3]]
    assert found.distances.tolist() == [[0, 0, 1, 1, 1]]


def test_fewer_entities_than_are_asked_for() -> None:
    books, codes, _ = world(entities=3)
    found = Patterns(codes, code_distances(books)).nearest(codes, 5)
    assert bool((found.rows[:, 3:] == -1).all())
    assert bool(found.distances[:, 3:].isinf().all())
    assert sorted(found.rows[0, :3].tolist()) == [0, 1, 2]


def test_an_entity_is_not_its_own_neighbour() -> None:
    books, codes, vectors = world()
    every = torch.arange(len(codes))
    found = without(Patterns(codes, code_distances(books)).nearest(codes, 8).rows, every, 7)
    assert not bool((found == every[:, None]).any())
    assert bool((found >= 0).all())
    distances = torch.cdist(vectors, vectors).square().fill_diagonal_(torch.inf)
    expected = distances.sort(dim=1).values[:, :7]
    torch.testing.assert_close(distances.gather(1, found), expected, atol=1e-5, rtol=1e-5)


def test_latent_patterns_by_hand() -> None:
    books = torch.tensor([[[0.0], [1.0], [3.0]], [[0.0], [5.0], [6.0]]])
    codes = torch.tensor([[0, 2]])  # the nearest
    latent = second_nearest(torch.tensor([[[0.2], [5.6]]]), books, codes)
    assert latent.tolist() == [[1, 1]]
    assert [one.tolist() for one in latent_patterns(codes, latent)] == [[[1, 2]], [[0, 1]]]


def test_latent_patterns_of_any_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Block by block, of one vector, and of codes whose rows do not lie one after the other."""
    draw = torch.Generator().manual_seed(0)
    books, turned = torch.randn(3, 5, 2, generator=draw), torch.randn(4, 6, 3, 2, generator=draw)
    order = (turned[..., None, :] - books).square().sum(-1).argsort(-1)
    monkeypatch.setattr(neighbours, "BLOCK", 40)
    assert torch.equal(second_nearest(turned, books, order[..., 0]), order[..., 1])
    across = (of.transpose(0, 1) for of in (turned, order))
    vectors, near = across
    assert torch.equal(second_nearest(vectors, books, near[..., 0]), near[..., 1])
    assert torch.equal(second_nearest(turned[0, 0], books, order[0, 0, :, 0]), order[0, 0, :, 1])
    assert second_nearest(turned[:0], books, order[:0, ..., 0]).shape == (0, 6, 3)


def test_a_latent_code_is_never_the_code_itself() -> None:
    books, far = torch.full((1, 4, 2), 3.0) + 1e-7 * torch.arange(4)[:, None], torch.full((50, 1, 2), 3.0)
    codes = torch.randint(4, (50, 1), generator=torch.Generator().manual_seed(0))
    assert not bool((second_nearest(far, books, codes) == codes).any())


def test_distinct_gives_back_all_codes() -> None:
    codes = torch.randint(50, (2000, 16), generator=torch.Generator().manual_seed(0)) // 25
    patterns, place = distinct(codes, [2**20] * 16)  # whose product would be beyond any integer
    assert torch.equal(patterns[place], codes)
    assert len(patterns) == len(codes.unique(dim=0))


def test_union_has_each_once() -> None:
    rows = torch.tensor([[3, 3, 1, -1, 3], [-1, -1, -1, -1, -1]])
    assert [sorted(row[row >= 0].tolist()) for row in union(rows)] == [[1, 3], []]


def test_each_pattern_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    books, stored = torch.randn(3, 4, 2, generator=draw), torch.randint(4, (30, 3), generator=draw)
    patterns, searched = Patterns(stored, code_distances(books)), []
    nearest = Patterns.nearest

    def counted(self: Patterns, codes: torch.Tensor, k: int) -> Nearest:
        searched.append(len(codes))
        return nearest(self, codes, k)

    monkeypatch.setattr(Patterns, "nearest", counted)
    near = Neighbours(patterns, 5)
    first, second = torch.randint(4, (40, 3), generator=draw), torch.randint(4, (50, 3), generator=draw)
    places = [near.places(codes) for codes in (first, second, first[:0])]
    for codes, place in zip((first, second), places):
        assert torch.equal(near.rows[place.long()].long(), nearest(patterns, codes, 5).rows)
    whole = torch.cat([first, second])
    assert searched[0] == len(first.unique(dim=0))
    assert sum(searched) == len(whole.unique(dim=0)) == len(near.rows) > searched[0]
