"""Exact figures of scorers that need no training, on real data; and how many codes are in use before the first step."""

import os

import pytest
import torch

from lightning_vq.data import CollaborativeData
from lightning_vq.metrics import hit_ratio, ndcg
from lightning_vq.quantizers import Cascaded
from lightning_vq.types import Table

pytestmark = pytest.mark.skipif(
    "LIGHTNING_VQ_DATA" not in os.environ, reason="needs ml-1m and amazon-grocery: set LIGHTNING_VQ_DATA"
)


def popularity(source: str) -> dict[str, float]:
    held = CollaborativeData(source=source)
    held.setup()
    counts = held.facts().counts["item"].double()
    ranks: dict[str, list[torch.Tensor]] = {"full": [], "uni99": []}
    for batch in held.test_dataloader():
        scores = counts.repeat(len(batch.users), 1)
        positive = scores.gather(1, batch.positives[:, None])
        scores[batch.seen] = -torch.inf
        ranks["full"].append((scores >= positive).sum(1))
        ranks["uni99"].append((counts[batch.candidates] >= positive).sum(1) + 1)
    found = {}
    for protocol, parts in ranks.items():
        found[f"hr@10/{protocol}"] = hit_ratio(torch.cat(parts), 10).mean().item()
        found[f"ndcg@10/{protocol}"] = ndcg(torch.cat(parts), 10).mean().item()
    return found


def test_popularity_on_ml_1m() -> None:
    expected = {"hr@10/uni99": 0.4571, "ndcg@10/uni99": 0.2509, "hr@10/full": 0.0368, "ndcg@10/full": 0.0179}
    assert popularity("ml-1m") == pytest.approx(expected, abs=5.1e-5)


def test_popularity_on_grocery() -> None:
    found = popularity("amazon-grocery")
    assert found["hr@10/full"] == pytest.approx(0.0073, abs=5.1e-5)
    assert found["ndcg@10/full"] == pytest.approx(0.0038, abs=5.1e-5)


def test_a_random_scorer_hits_k_in_a_hundred() -> None:
    held = CollaborativeData(source="amazon-grocery")
    held.setup()
    generator = torch.Generator().manual_seed(0)
    ranks = torch.cat(
        [
            (scores >= scores[:, :1]).sum(1)
            for batch in held.test_dataloader()
            for scores in [torch.rand(len(batch.users), 100, generator=generator, dtype=torch.float64)]
        ]
    )
    for k in (5, 10):  # 14,681 users: the standard error of HR@10 is .0025
        assert hit_ratio(ranks, k).mean().item() == pytest.approx(k / 100, abs=0.0075)
    exact = sum(1 / torch.log2(torch.tensor(r + 1.0)).item() for r in range(1, 11)) / 100
    assert exact == pytest.approx(0.0454, abs=5e-5)
    assert ndcg(ranks, 10).mean().item() == pytest.approx(exact, abs=0.005)


@pytest.mark.parametrize("vocab", ["user", "item"])
def test_most_codes_are_in_use_before_the_first_step(vocab: str) -> None:
    rows = {"user": 6040, "item": 3706}[vocab]
    torch.manual_seed(0)
    table = torch.randn(rows, 64) * 0.01
    quantizer = Cascaded(rows, 64, codebook_sizes=[500, 10])
    quantizer.start(Table(table))
    assert len(quantizer.encode(table, torch.arange(rows))[:, 0].unique()) >= 350
    normal = Cascaded(rows, 64, codebook_sizes=[500, 10], init="normal")
    normal.start(Table(table))
    assert len(normal.encode(table, torch.arange(rows))[:, 0].unique()) < 10  # what table_std is there for
