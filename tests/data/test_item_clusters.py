"""Clusters of items by what stands near them in lists."""

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_mutual_info_score
from small_lists import lists

from lightning_vq.data.item_clusters import WINDOW, item_clusters, near, pointwise_information
from lightning_vq.data.list_loader import Stretches
from lightning_vq.errors import UserError
from lightning_vq.sources.planted import PlantedOptions

WORLD = PlantedOptions(users=800, items=120, branching=(4, 3), mean_length=15)


def stretches(*given: list[int]) -> Stretches:
    lengths = torch.tensor([len(one) for one in given])
    begins = lengths.cumsum(0) - lengths
    return Stretches(
        torch.tensor([item for one in given for item in one]), begins, lengths, lengths, torch.arange(len(given))
    )


def test_what_stands_near_by_hand() -> None:
    counts = near(stretches([0, 1, 2], [3], [1, 0]), 4).toarray()
    assert counts.tolist() == [[0, 2, 1, 0], [2, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    far = near(stretches([0, *[1] * WINDOW, 2]), 3).toarray()
    assert far[0, 2] == 0
    assert far[0, 1] == WINDOW


def test_information_is_that_of_the_definition() -> None:
    lists_ = [list(one) for one in torch.randint(9, (30, 7), generator=torch.Generator().manual_seed(0)).tolist()]
    counts = near(stretches(*lists_), 9).toarray()
    joint, context = counts / counts.sum(), counts.sum(0) ** 0.75
    with np.errstate(divide="ignore"):
        expected = np.log(joint / joint.sum(1, keepdims=True) / (context / context.sum()))
    found = pointwise_information(near(stretches(*lists_), 9)).toarray()
    assert np.allclose(found, np.maximum(expected, 0), atol=1e-12)
    assert (found > 0).any()


def test_planted_categories_are_found() -> None:
    held = lists(planted=WORLD, clusters=12)
    held.setup()
    truth = held.truth("item")
    finest = truth[next(iter(truth))]
    assert adjusted_mutual_info_score(finest, held.categories_of[:, 0]) > 0.8
    assert held.facts().categories["item"].shape == (118, 1)  # two are in no list
    assert held.categories[:2] == ["cluster 00", "cluster 01"]


def test_lists_that_are_tested_on_tell_nothing_unless_asked() -> None:
    held = lists(planted=WORLD, clusters=12)
    held.setup()
    train = item_clusters(held.parts[0], 118, 12, held.split_seed)
    assert torch.equal(held.categories_of[:, 0], torch.from_numpy(train))
    whole = lists(planted=WORLD, clusters=12, cluster_lists="all")
    whole.setup()
    assert not torch.equal(whole.categories_of, held.categories_of)


@pytest.mark.parametrize("clusters", [1, 118, 4000])
def test_too_few_or_too_many_are_refused(clusters: int) -> None:
    with pytest.raises(UserError, match=f"clusters is {clusters}; it must be 2 or more and below the 118 items"):
        lists(planted=WORLD, clusters=clusters).setup()
