"""What every quantizer promises, over every class that there is."""

import pytest
import torch
from discovery import discovered
from hypothesis import given, settings
from hypothesis import strategies as st
from quantizers.examples import DIM, EXAMPLES, ROWS, started
from torch import Tensor

import lightning_vq.quantizers as package
from lightning_vq.errors import UserError
from lightning_vq.quantizers import Quantizer
from lightning_vq.specs import construct, describe
from lightning_vq.types import Table

ALL = pytest.mark.parametrize("name", list(EXAMPLES))
CODED = pytest.mark.parametrize("name", [n for n in EXAMPLES if n != "lowrank"])


def test_every_quantizer_has_an_example() -> None:
    assert {type(make(ROWS, DIM)) for make in EXAMPLES.values()} == set(discovered(package, Quantizer))


@ALL
@given(ids=st.lists(st.integers(0, ROWS - 1), max_size=12), pairs=st.booleans())
@settings(max_examples=15, deadline=None)
def test_shapes_range_and_what_evaluation_sees(name: str, ids: list[int], pairs: bool) -> None:
    quantizer, table = started(name)
    rows = torch.tensor(ids, dtype=torch.long)
    rows = torch.stack([rows, rows.flip(0)], 1) if pairs else rows
    vectors = table[rows]
    got = quantizer(vectors, rows)
    sizes = quantizer.codebook_sizes
    assert got.vectors.shape == vectors.shape
    assert got.codes.shape == (*rows.shape, len(sizes))
    assert got.codes.dtype == torch.int64
    assert got.codebook.shape == got.commitment.shape == rows.shape
    for i, size in enumerate(sizes):
        assert ((got.codes[..., i] >= 0) & (got.codes[..., i] < size)).all()
    codes = quantizer.encode(vectors, rows)
    assert torch.equal(codes, got.codes)
    seen = quantizer.combine(vectors, quantizer.decode(codes, rows))
    torch.testing.assert_close(seen, quantizer.combine(vectors, got.vectors))


@ALL
def test_duplicates_are_alike_and_one_row_is_as_in_a_batch(name: str) -> None:
    quantizer, table = started(name)
    ids = torch.tensor([3, 7, 3])
    batch, one = quantizer(table[ids], ids), quantizer(table[3:4], ids[:1])
    for value, alone in zip(batch, one):
        assert torch.equal(value[0], value[2])
        torch.testing.assert_close(value[:1], alone)


@CODED
def test_codes_are_the_nearest_in_float64(name: str) -> None:
    quantizer, table = started(name, dtype=torch.float32)
    ids = torch.arange(ROWS)
    codes = quantizer.encode(table, ids)
    wide = quantizer.double()
    best = _distance(wide, table.double(), codes, ids)
    sizes = quantizer.codebook_sizes
    if hasattr(quantizer, "books") or type(quantizer).__name__ == "Residual":  # later levels: tests of their own
        sizes = sizes[:1]
    for column, size in enumerate(sizes):  # another code in its place is never nearer
        for other in range(size):
            changed = codes.clone()
            changed[:, column] = other
            if hasattr(quantizer, "parents"):  # the path of a tree follows from its first code
                for i, parent in enumerate(wide.parents()):
                    changed[:, i + 1] = parent[changed[:, i]]
            if hasattr(quantizer, "tiers"):
                assert isinstance(quantizer.tiers, Tensor)
                tiers, centroids, subspaces = quantizer.tiers.tolist(), quantizer.centroids, quantizer.subspaces
                allowed = torch.tensor([other < centroids[t] and column < subspaces[t] for t in tiers])
                changed[~allowed] = codes[~allowed]
            else:
                allowed = torch.ones(ROWS, dtype=torch.bool)
            assert (best <= _distance(wide, table.double(), changed, ids) + 1e-6)[allowed].all()


def _distance(quantizer: Quantizer, table: Tensor, codes: Tensor, ids: Tensor) -> Tensor:
    """Squared distance (N,) of each row to what its first code stands for."""
    if hasattr(quantizer, "books"):
        return (table - quantizer.books()[0][codes[:, 0]]).square().sum(1)
    if type(quantizer).__name__ == "Residual":
        return (table - quantizer.codebooks[0](codes[:, :1])).square().sum(1)
    return (table - quantizer.decode(codes, ids)).square().sum(1)


@ALL
def test_state_and_arguments_rebuild_it(name: str) -> None:
    quantizer, table = started(name)
    again = construct(describe(quantizer), Quantizer).double()
    again.load_state_dict(quantizer.state_dict())
    assert again.active
    ids = torch.arange(ROWS)
    for ours, theirs in zip(quantizer(table, ids), again(table, ids)):
        assert torch.equal(ours, theirs)
    assert again.bits() == quantizer.bits()


@ALL
def test_start_is_a_function_of_the_seed_and_leaves_the_table_alone(name: str) -> None:
    (first, table), (second, _) = started(name), started(name)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
    torch.manual_seed(1)
    assert torch.equal(table, torch.randn(ROWS, DIM, dtype=torch.float64))


@CODED
@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf])
def test_nan_and_infinity_are_refused(name: str, poison: float) -> None:
    quantizer, table = started(name)
    bad = table.clone()
    bad[4, 2] = poison
    ids = torch.arange(ROWS)
    for call in (quantizer, quantizer.encode):
        with pytest.raises(UserError, match="NaN or infinity"):
            call(bad, ids)
    parameter = next(quantizer.parameters(), None)
    if parameter is not None:
        before = parameter.detach().clone()
        with torch.no_grad():
            parameter.view(-1)[0] = poison
        with pytest.raises(UserError, match="NaN or infinity"):
            quantizer(table, ids)
        with torch.no_grad():
            parameter.copy_(before)
    with pytest.raises(UserError, match="NaN or infinity"):
        quantizer.start(Table(bad, counts=torch.ones(ROWS)))


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n not in ("lowrank", "scalar")])  # these have no losses
def test_gradients_reach_table_and_codebooks(name: str) -> None:
    quantizer, table = started(name)
    ids = torch.arange(ROWS)
    leaf = table.clone().requires_grad_()
    got = quantizer(leaf, ids)
    learned = [p for p in quantizer.parameters() if p.requires_grad and p.ndim == 3]
    assert bool(learned) == (not name.endswith("ema") and name != "dpq-one-code")
    quantizer.zero_grad()
    got.commitment.sum().backward(retain_graph=True)
    assert leaf.grad is not None
    assert leaf.grad.any()
    if learned:
        got.codebook.sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in learned)


def test_the_lookup_goes_around_a_quantizer_that_has_not_started() -> None:
    from lightning_vq.lookup import Lookup

    quantizer = EXAMPLES["cascaded-kmeans"](ROWS, DIM)
    table = torch.nn.Parameter(torch.randn(ROWS, DIM))
    look = Lookup({"item": table}, {"item": quantizer})
    assert torch.equal(look("item", torch.tensor([2, 5])), table[[2, 5]])
    assert look.all("item") is table
    codebook, commitment = look.losses("item")
    assert codebook.item() == commitment.item() == 0.0
