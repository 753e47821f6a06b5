"""DQVAE: an exact rotation, even groups, and two ways to one solution."""

from itertools import permutations

import numpy as np
import pytest
import torch

from lightning_vq.errors import UserError
from lightning_vq.quantizers import DQVAE
from lightning_vq.quantizers.balance import balanced_groups, imbalance
from lightning_vq.types import Table


def correlated(rows: int = 500, dim: int = 8) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(rows, dim) @ torch.randn(dim, dim) + 3.0


def test_the_decoder_undoes_the_encoder_and_columns_are_uncorrelated() -> None:
    table = correlated()
    quantizer = DQVAE(500, 8, groups=2, codes=16).double()
    quantizer.start(Table(table.double()))
    turned = quantizer._turned(table.double())
    torch.testing.assert_close(turned @ quantizer.rotation.T + quantizer.mean, table.double())
    torch.testing.assert_close(quantizer.rotation @ quantizer.rotation.T, torch.eye(8, dtype=torch.float64))
    spread = turned.T @ turned
    assert (spread - spread.diag().diag()).abs().max() < 1e-9 * spread.diag().max()


def test_reconstruction_loss_equals_the_codebook_loss() -> None:
    table = correlated().double()
    quantizer = DQVAE(500, 8, groups=4, codes=16).double()
    quantizer.start(Table(table))
    got = quantizer(table, torch.arange(500))
    torch.testing.assert_close((got.vectors - table).square().mean(1), got.codebook)  # L_R = L_C
    assert torch.equal(got.codebook, got.commitment)


def test_kmeans_and_gradient_solve_the_same_problem() -> None:
    table = correlated()
    ids = torch.arange(500)
    errors = {}
    for init in ("data", "kmeans"):
        torch.manual_seed(1)
        quantizer = DQVAE(500, 8, groups=2, codes=16, init=init)  # type: ignore[arg-type]
        quantizer.start(Table(table))
        errors[init] = quantizer(table, ids).codebook.mean().item()
        if init == "data":
            optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.05)
            for _ in range(300):
                optimizer.zero_grad()
                quantizer(table, ids).codebook.mean().backward()
                optimizer.step()
            errors["gradient"] = quantizer(table, ids).codebook.mean().item()
    assert errors["gradient"] < 0.8 * errors["data"]
    assert errors["gradient"] == pytest.approx(errors["kmeans"], rel=0.1)


def test_balance_is_the_best_grouping_of_a_small_case() -> None:
    values = np.array([7.0, 1.0, 3.0, 3.0, 5.0, 2.0])
    best = min(imbalance(values, np.array(order), 2) for order in permutations(range(6)))
    assert imbalance(values, balanced_groups(values, 2), 2) == pytest.approx(best)


def test_balance_of_a_spectrum() -> None:
    values = 0.9 ** np.arange(64)
    order = balanced_groups(values, 4)
    assert sorted(order.tolist()) == list(range(64))
    assert imbalance(values, order, 4) < 0.01


@pytest.mark.parametrize(("rows", "options"), [(8, {}), (500, {"groups": 3}), (100, {"codes": 101})])
def test_tables_that_are_too_small_are_refused(rows: int, options: dict[str, int]) -> None:
    with pytest.raises(UserError):
        DQVAE(rows, 8, **{"groups": 2, "codes": 4, **options})


def test_bits_by_hand() -> None:
    assert DQVAE(100, 8, groups=4, codes=16).bits() == 100 * 4 * 4 + 32 * (16 * 8 + 8 * 8 + 8)
