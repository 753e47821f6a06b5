"""What an epoch draws: popular negatives in the right proportions, triples whose corruptions are not in the graph."""

import numpy as np
import pyarrow as pa
import torch
from small import data

from lightning_vq.data.negatives import KnownPairs, generator
from lightning_vq.data.samplers import PairSampler, popularity
from lightning_vq.data.splits import TRAIN
from lightning_vq.data.triples import TripleSampler, knowledge_graph
from lightning_vq.sources.interactions import Interactions, Metadata

USERS = torch.tensor([0, 0, 1, 2])
ITEMS = torch.tensor([0, 1, 1, 2])


def raw(categories: list[list[str]] | None, relations: dict[str, tuple[np.ndarray, np.ndarray]]) -> Interactions:
    return Interactions(
        "here", pa.array(["a", "b", "c"]), pa.array(["p", "q", "r", "s"]), USERS.numpy(), ITEMS.numpy(), None, None,
        np.arange(4), item_metadata=None if categories is None else Metadata([None] * 4, categories),
        relations=relations,
    )  # fmt: skip


FULL = raw([["x", "y"], ["y"], [], ["x"]], {"with": (np.array([0, 2]), np.array([3, 1]))})


def test_odds_of_popular_negatives() -> None:
    users = torch.zeros(60_000, dtype=torch.long)
    known = KnownPairs(torch.tensor([0]), torch.tensor([0]), 5, "here")
    weights = torch.tensor([100.0, 1.0, 2.0, 3.0, 4.0])
    sampler = PairSampler(users, users, known, 1, weights)
    drawn = sampler.draw(generator(0))
    counts = torch.bincount(drawn.items[:, 1], minlength=5).double()
    assert counts[0] == 0  # known to the user, however likely
    expected = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.double) / 10 * len(users)
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 16.3  # chi-square with 3 degrees of freedom, p = .001
    torch.testing.assert_close(drawn.log_q, weights.log()[drawn.items])


def test_uniform_negatives_carry_no_odds() -> None:
    held = data()
    held.setup()
    assert next(iter(held.train_dataloader())).rows.log_q is None
    popular = data(negative_power=0.75)
    popular.setup()
    rows = next(iter(popular.train_dataloader())).rows
    counts = popularity(popular.parts[TRAIN][1], popular.item_count, 0.75)
    torch.testing.assert_close(rows.log_q, counts.log()[rows.items])


def test_the_graph_by_hand() -> None:
    graph = knowledge_graph(FULL, USERS, ITEMS)
    assert graph.names == ("interacts", "with", "category")
    assert graph.categories == ("x", "y")
    assert graph.sizes == (3, 4, 2)
    found = list(zip(*(column.tolist() for column in graph[:3])))
    buys = [(0, 0, 3), (0, 0, 4), (1, 0, 4), (2, 0, 5)]
    assert found == [*buys, (3, 1, 6), (5, 1, 4), (3, 2, 7), (3, 2, 8), (4, 2, 8), (6, 2, 7)]


def test_a_source_that_knows_nothing_of_its_items() -> None:
    graph = knowledge_graph(raw(None, {}), USERS, ITEMS)
    assert graph.names == ("interacts",)
    assert graph.sizes == (3, 4, 0)


def test_corruptions_are_of_the_same_kind_and_not_in_the_graph() -> None:
    graph = knowledge_graph(FULL, USERS, ITEMS)
    known = set(zip(*(column.tolist() for column in graph[:3])))
    sampler = TripleSampler(graph)
    kept = set(zip(sampler.heads.tolist(), sampler.relations.tolist(), sampler.tails.tolist()))
    assert known - kept == {(3, 2, 7), (3, 2, 8)}  # item p has both categories: no third one to corrupt them with
    tails, heads = set(), set()
    kinds = [0] * 3 + [1] * 4 + [2] * 2
    for seed in range(60):
        for h, r, t, other_tail, other_head in zip(*(column.tolist() for column in rows(sampler, seed))):
            assert (h, r, t) in kept
            assert kinds[other_tail] == kinds[t]
            assert kinds[other_head] == kinds[h]
            assert (h, r, other_tail) not in known
            assert (other_head, r, t) not in known
            tails.add((h, r, t, other_tail))
            heads.add((h, r, t, other_head))
    assert {o for h, r, t, o in tails if (h, r, t) == (1, 0, 4)} == {3, 5, 6}
    assert {o for h, r, t, o in heads if (h, r, t) == (1, 0, 4)} == {2}


def rows(sampler: TripleSampler, seed: int) -> tuple[torch.Tensor, ...]:
    """Return head, relation, tail, other tail, other head of a draw."""
    drawn = sampler.draw(generator(seed))
    return drawn.heads, drawn.relations, drawn.tails, drawn.other_tails, drawn.other_heads


def test_a_search_draws_what_the_flags_draw() -> None:
    sampler = TripleSampler(knowledge_graph(FULL, USERS, ITEMS))
    assert sampler._known.table is not None
    by_flags = rows(sampler, 7)
    sampler._known.table = None  # as in a graph of more than 64 MiB of possible triples
    assert all(torch.equal(a, b) for a, b in zip(by_flags, rows(sampler, 7)))


def test_what_everything_has_is_left_out() -> None:
    sampler = TripleSampler(knowledge_graph(raw([["x"]] * 4, {}), USERS, ITEMS))
    assert sampler.relations.tolist() == [0] * 4
    bought_by_all = TripleSampler(knowledge_graph(raw(None, {}), torch.arange(3), torch.tensor([1, 1, 1])))
    assert bought_by_all.count == 0
