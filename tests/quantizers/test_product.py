"""DPQ and MGQE: hand-derived gradients, one-dimensional parts by sorted search, tiers, exact sizes."""

import pytest
import torch

from lightning_vq.errors import UserError
from lightning_vq.quantizers import DPQ, MGQE
from lightning_vq.quantizers.search import nearest_codes
from lightning_vq.types import Table


def table_of(rows: int = 50, dim: int = 8, seed: int = 0) -> Table:
    torch.manual_seed(seed)
    return Table(torch.randn(rows, dim), counts=torch.randperm(rows))


def test_by_hand() -> None:
    quantizer = DPQ(4, 2, subspaces=2, centroids=2)
    quantizer.start(Table(torch.randn(4, 2)))
    with torch.no_grad():
        quantizer.codebook.weight.copy_(torch.tensor([[[0.0], [4.0]], [[1.0], [-1.0]]]))
    leaf = torch.tensor([[3.0, 0.5]], requires_grad=True)
    got = quantizer(leaf, torch.tensor([0]))
    assert got.codes.tolist() == [[1, 0]]
    assert got.vectors.tolist() == [[4.0, 1.0]]
    assert got.codebook.tolist() == [0.625]  # ((3 - 4)^2 + (0.5 - 1)^2) / 2
    (got.vectors @ torch.tensor([2.0, 5.0])).sum().backward(retain_graph=True)
    assert leaf.grad.tolist() == [[2.0, 5.0]]  # straight through
    assert quantizer.codebook.weight.grad is None or not quantizer.codebook.weight.grad.any()
    got.codebook.sum().backward()
    assert leaf.grad.tolist() == [[2.0, 5.0]]
    # d/dc mean (c - e)^2 = 2 (c - e) / D = (4 - 3, 1 - 0.5)
    assert quantizer.codebook.weight.grad.tolist() == [[[0.0], [1.0]], [[0.5], [0.0]]]


@pytest.mark.parametrize("width", [1, 2, 4])
def test_search_of_parts_is_the_naive_one(width: int) -> None:
    torch.manual_seed(3)
    x, books = torch.randn(200, 8 // width, width), torch.randn(8 // width, 17, width)
    books[0, 5] = books[0, 9]  # equal codes: the lower one
    naive = (x.double()[:, :, None] - books.double()).square().sum(-1).argmin(-1)
    assert torch.equal(nearest_codes(x, books), naive)


def test_a_number_halfway_goes_to_one_of_its_two_neighbours() -> None:
    books = torch.tensor([[[2.0], [0.0], [0.0]]])
    assert nearest_codes(torch.tensor([[[1.0]]]), books).item() in (0, 1)
    assert nearest_codes(torch.tensor([[[0.2]], [[-9.0]], [[9.0]]]), books)[:, 0].tolist() == [1, 1, 0]


def test_mgqe_with_equal_tiers_is_dpq_bit_for_bit() -> None:
    table = table_of()
    made = []
    for kind, options in (
        (DPQ, {"subspaces": 4, "centroids": 5}),
        (MGQE, {"shares": [0.2, 0.3, 0.5], "centroids": [5, 5, 5], "subspaces": [4, 4, 4]}),
    ):
        torch.manual_seed(7)
        quantizer = kind(50, 8, **options)
        quantizer.start(table)
        leaf = table.weight.clone().requires_grad_()
        got = quantizer(leaf, torch.arange(50))
        (got.vectors.square().sum() + got.codebook.sum() + got.commitment.sum()).backward()
        book = quantizer.codebook if isinstance(quantizer, DPQ) else quantizer.codebooks[0]
        made.append([*got, leaf.grad, book.weight.grad])
    for ours, theirs in zip(*made):
        assert torch.equal(ours, theirs)


def test_tiers_follow_the_counts_and_tails_have_fewer_codes() -> None:
    table = table_of()
    assert table.counts is not None
    quantizer = MGQE(50, 8, shares=[0.1, 0.9], centroids=[16, 3], subspaces=[4, 4])
    quantizer.start(table)
    assert set(table.counts[quantizer.tiers == 0].tolist()) == {45, 46, 47, 48, 49}
    codes = quantizer.encode(table.weight, torch.arange(50))
    assert codes[quantizer.tiers == 1].max() <= 2
    assert codes[quantizer.tiers == 0].max() > 2


def test_own_codebooks_serve_only_their_tier() -> None:
    table = table_of()
    quantizer = MGQE(50, 8, shares=[0.1, 0.9], centroids=[4, 4], subspaces=[8, 2], shared=False)
    quantizer.start(table)
    ids = torch.arange(50)
    before = quantizer(table.weight, ids).vectors
    with torch.no_grad():
        quantizer.codebooks[1].weight.add_(1.0)
    changed = (quantizer(table.weight, ids).vectors != before).any(1)
    assert torch.equal(changed, quantizer.tiers == 1)


@pytest.mark.parametrize(
    ("options", "bits"),
    [
        # 10 head rows, 90 tail rows, d = 8
        ({"centroids": [256, 64], "subspaces": [8, 8]}, 10 * 8 * 8 + 90 * 8 * 6 + 32 * 256 * 8),
        ({"centroids": [256, 64], "subspaces": [8, 8], "shared": False},
         10 * 8 * 8 + 90 * 8 * 6 + 32 * 8 * (256 + 64)),
        ({"centroids": [256, 256], "subspaces": [8, 2], "shared": False},
         10 * 8 * 8 + 90 * 2 * 8 + 32 * 2 * 256 * 8),
    ],
)  # fmt: skip
def test_bits_by_the_papers_formulas(options: dict[str, object], bits: int) -> None:
    assert MGQE(100, 8, shares=[0.1, 0.9], **options).bits() == bits  # type: ignore[arg-type]


def test_dpq_bits() -> None:
    assert DPQ(100, 8, subspaces=4, centroids=256).bits() == 100 * 4 * 8 + 32 * 256 * 8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shares": [0.1, 0.8]}, "sum to 1"),
        ({"shares": [1.0]}, "one value for each tier"),
        ({"subspaces": [8, 4]}, "shared codebook"),
        ({"centroids": [64, 256]}, "most centroids in the head"),
        ({"subspaces": [3, 3]}, "do not divide"),
    ],
)
def test_impossible_tiers_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        MGQE(100, 8, **{"subspaces": [8, 8], **options})  # type: ignore[arg-type]


def test_a_table_without_counts_is_refused() -> None:
    with pytest.raises(UserError, match="counts"):
        MGQE(50, 8, subspaces=[8, 8]).start(Table(torch.randn(50, 8)))


def test_kmeans_start_of_each_part_serves_better_than_random_numbers() -> None:
    table = table_of(400)
    errors = []
    for init in ("table_std", "kmeans"):
        quantizer = DPQ(400, 8, subspaces=4, centroids=16, init=init)  # type: ignore[arg-type]
        quantizer.start(table)
        errors.append(quantizer(table.weight, torch.arange(400)).codebook.mean().item())
    assert errors[1] < 0.7 * errors[0]


def test_restart_gives_the_codes_of_the_head_alone_to_the_head() -> None:
    torch.manual_seed(0)
    counts = torch.arange(400)
    weight = torch.where((counts >= 360)[:, None], 0.1, 5.0) * torch.randn(400, 8)  # the head is near the origin
    table = Table(weight, counts=counts)
    quantizer = MGQE(400, 8, shares=[0.1, 0.9], centroids=[16, 4], subspaces=[2, 2])
    quantizer.start(table)
    with torch.no_grad():
        quantizer.codebooks[0].weight[:, 4:] = 1e3
    quantizer.restart(table)
    head = quantizer.encode(weight, torch.arange(400))[quantizer.tiers == 0]
    assert all(len(set(column.tolist()) - set(range(4))) >= 9 for column in head.T)


def test_uses_of_own_codebooks_are_told_apart_by_tier() -> None:
    quantizer = MGQE(50, 8, shares=[0.2, 0.8], centroids=[4, 8], subspaces=[8, 2], shared=False)
    quantizer.start(table_of())
    uses = quantizer.codebook_uses(quantizer.encode(table_of().weight, torch.arange(50)))
    assert [(len(rows), size) for rows, _, size in uses] == [(10, 4)] * 8 + [(40, 8)] * 2
    assert all(int(column.max()) < size for _, column, size in uses)


@pytest.mark.parametrize(
    "make", [lambda: DPQ(9, 4, subspaces=2, centroids=10, init="kmeans"),
             lambda: MGQE(90, 4, centroids=[16, 8], subspaces=[2, 2], shared=False, init="data")],
)  # fmt: skip
def test_more_centroids_than_rows_are_refused_before_any_training(make: object) -> None:
    with pytest.raises(UserError, match="as many rows as centroids"):
        make()  # type: ignore[operator]
