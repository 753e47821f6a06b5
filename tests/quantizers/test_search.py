"""The nearest code equals the naive float64 search, except at ties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_vq.quantizers import search
from lightning_vq.quantizers.search import nearest_code


@given(st.integers(0, 50), st.integers(1, 40), st.integers(1, 16), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_distance_of_the_code_is_the_smallest(rows: int, codes: int, dim: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, c = torch.randn(rows, dim, generator=generator), torch.randn(codes, dim, generator=generator)
    distances = torch.cdist(x.double(), c.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    found = nearest_code(x, c)
    assert found.shape == (rows,)
    assert found.dtype == torch.int64
    chosen = distances.gather(1, found[:, None]).squeeze(1)
    torch.testing.assert_close(chosen, distances.min(1).values if rows else chosen, atol=1e-5, rtol=1e-5)


def test_worked_by_hand() -> None:
    codebook = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    # squared distances of (2, 1): 5, 2, 13; of (0, 2.5): 6.25, 15.25, 2.25; of (1.5, 0): 2.25, 2.25 (a tie), 18.25
    vectors = torch.tensor([[2.0, 1.0], [0.0, 2.5], [1.5, 0.0]])
    assert nearest_code(vectors, codebook).tolist() == [1, 2, 0]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, c = torch.randn(5, 7, 8), torch.randn(13, 8)
    whole = nearest_code(x, c)
    monkeypatch.setattr(search, "CHUNK_SCORES", 26)
    assert whole.shape == (5, 7)
    assert torch.equal(nearest_code(x, c), whole)


def test_autocast_does_not_round_the_scores() -> None:
    # 256 and 256.5 are the same number in bfloat16.
    codebook = torch.tensor([[256.0, 1.0], [256.5, 1.0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nearest_code(torch.tensor([[256.4, 1.0], [256.1, 1.0]]), codebook).tolist() == [1, 0]


@pytest.mark.parametrize("codes", [255, 256, 257, 500, 1024])
def test_the_first_of_equal_codes_wins_whatever_their_number(codes: int) -> None:
    torch.manual_seed(0)
    x, c = (torch.randint(-4, 5, (n, 8)).float() for n in (300, codes))  # whole numbers: scores are exact
    half = (codes + 1) // 2
    c[half:] = c[: codes - half].clone()  # every code of the second half stands in the first as well
    naive = (x.double()[:, None] - c.double()).square().sum(-1).argmin(1)
    assert torch.equal(nearest_code(x, c), naive)
    assert nearest_code(x, c).max() < half
