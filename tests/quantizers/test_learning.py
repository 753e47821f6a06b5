"""k-means, moving averages, restarts, usage and the tree's classifier, each against values worked by hand."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from lightning_vq.quantizers import Cascaded, Residual, TreeClassifier
from lightning_vq.quantizers.average import MovingAverage
from lightning_vq.quantizers.kmeans import kmeans
from lightning_vq.quantizers.restart import restart
from lightning_vq.quantizers.usage import collisions, evenness, usage
from lightning_vq.types import Table


def blobs(clusters: int = 5, each: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    centres = torch.randn(clusters, 3) * 20
    return (centres[:, None] + torch.randn(clusters, each, 3)).reshape(-1, 3), centres


def test_kmeans_is_a_fixed_point_of_lloyd_in_float64() -> None:
    vectors = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    centres, codes = kmeans(vectors, 7, iterations=200)
    assert torch.equal(codes, (vectors[:, None] - centres).square().sum(2).argmin(1))
    for k in range(7):
        torch.testing.assert_close(centres[k], vectors[codes == k].mean(0))


def test_kmeans_keeps_as_many_clusters_as_there_are_distinct_vectors() -> None:
    vectors = torch.tensor([[0.0], [0.0], [0.0], [0.0], [5.0], [9.0]])
    for seed in range(10):
        torch.manual_seed(seed)
        centres, codes = kmeans(vectors, 3)
        assert sorted(centres[:, 0].tolist()) == [0.0, 5.0, 9.0]
        assert len(codes.unique()) == 3


def test_weights_of_kmeans_stand_for_repeated_vectors() -> None:
    vectors = torch.tensor([[0.0], [3.0]])
    torch.manual_seed(0)
    centres, _ = kmeans(vectors, 1, weights=torch.tensor([2.0, 1.0]))
    assert centres.item() == pytest.approx(1.0)


def test_moving_average_by_hand() -> None:
    book = torch.tensor([[2.0], [10.0]])
    average = MovingAverage(2, 1, decay=0.5)
    average.start(book)  # n = (1, 1), m = (2, 10)
    average.update(book, torch.tensor([[4.0], [8.0]]), torch.tensor([0, 0]), torch.tensor([1.0, 3.0]))
    # n = (0.5 + 0.5 * 4, 0.5), m = (1 + 0.5 * (4 + 24), 5)
    assert book.tolist() == [[pytest.approx(15 / 2.5)], [pytest.approx(10.0)]]


def test_a_code_that_none_chooses_stays_where_it_is_for_ever() -> None:
    book = torch.tensor([[2.0], [10.0]])
    average = MovingAverage(2, 1, decay=0.5)
    average.start(book)
    for _ in range(500):
        average.update(book, torch.tensor([[3.0]]), torch.tensor([0]), torch.ones(1))
    assert book[1].item() == pytest.approx(10.0, rel=1e-4)
    assert book[0].item() == pytest.approx(3.0)


@pytest.mark.parametrize("kind", [Cascaded, Residual])
def test_moving_averages_serve_a_fixed_table_better_and_better(kind: type) -> None:
    vectors, _ = blobs()
    quantizer = kind(len(vectors), 3, codebook_sizes=[8, 3], learning="ema")
    quantizer.start(Table(vectors))
    ids = torch.arange(len(vectors))
    errors = []
    for _ in range(400):
        got = quantizer(vectors, ids)
        errors.append(got.codebook.mean().item())
        quantizer.observe(vectors, ids, got.codes, None)
    assert errors[-1] < 0.5 * errors[0]
    assert not any(p.requires_grad for p in quantizer.parameters())


def test_restart_moves_unused_codes_to_vectors_that_are_badly_served() -> None:
    book = torch.tensor([[0.0], [100.0], [200.0]])
    vectors = torch.tensor([[0.0], [0.0], [3.0], [-4.0]])
    for seed in range(5):
        torch.manual_seed(seed)
        moved = book.clone()
        rows = restart(moved, vectors, torch.zeros(4, dtype=torch.long))
        assert rows.tolist() == [1, 2]
        assert sorted(moved[:, 0].tolist()) == [-4.0, 0.0, 3.0]  # never the vectors that are served exactly


def test_restart_leaves_what_is_used_and_what_nobody_needs() -> None:
    book = torch.tensor([[0.0], [1.0]])
    rows = restart(book, torch.tensor([[0.0], [0.0]]), torch.zeros(2, dtype=torch.long))
    assert rows.tolist() == []
    assert book.tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize("kind", [Cascaded, Residual])
def test_restarts_repair_a_collapse(kind: type) -> None:
    vectors, _ = blobs()
    table, ids = Table(vectors), torch.arange(len(vectors))
    quantizer = kind(len(vectors), 3, codebook_sizes=[20, 5])
    quantizer.start(table)
    with torch.no_grad():
        for level in quantizer.codebooks:
            level.weight.copy_(1000.0 + torch.arange(level.codes)[:, None])
    assert usage(quantizer.encode(vectors, ids)[:, 0], 20).dead == 19
    torch.manual_seed(0)
    assert quantizer.restart(table) >= 19
    after = quantizer.encode(vectors, ids)
    assert usage(after[:, 0], 20).used >= 0.9
    assert usage(after[:, 1], 5).used >= 0.8


def test_usage_by_hand() -> None:
    found = usage(torch.tensor([0, 0, 0, 1]), 3)
    assert (found.used, found.dead) == (pytest.approx(2 / 3), 1)
    assert found.perplexity == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
    # Gini by its definition: mean absolute difference of shares over twice their mean.
    shares = torch.tensor([0.75, 0.25, 0.0])
    assert found.gini == pytest.approx(float((shares[:, None] - shares).abs().mean() / (2 * shares.mean())))
    assert evenness(1.0, 10) == 0.0
    assert evenness(10.0, 10) == evenness(1.0, 1) == 1.0
    assert usage(torch.zeros(0, dtype=torch.long), 3).perplexity == 0.0


def test_collisions_by_hand() -> None:
    assert collisions(torch.tensor([[1], [1], [1], [2]])) == 0.75
    assert collisions(torch.zeros(0, 2, dtype=torch.long)) == 0.0


def test_tree_classifier_is_the_mean_cross_entropy_of_its_levels() -> None:
    torch.manual_seed(0)
    classifier = TreeClassifier(4, [5, 2])
    hidden = torch.randn(3, 4, requires_grad=True)
    codes = torch.tensor([[4, 1], [0, 0], [2, 1]])
    loss = classifier(hidden, codes)
    by_level = [cross_entropy(h(hidden), codes[:, i]) for i, h in enumerate(classifier.heads)]
    torch.testing.assert_close(loss, (by_level[0] + by_level[1]) / 2)
    for head in classifier.heads:  # scores of zero: every code equally likely
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    assert classifier(hidden, codes).item() == pytest.approx((math.log(5) + math.log(2)) / 2)
    assert classifier(hidden[:0], codes[:0]).item() == 0.0
