"""Losses by hand; what sampled softmax tends to; which of them trains what."""

import math

import pytest
import torch
from small import data, trained

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.cfkg import CFKG
from lightning_vq.backbones.collaborative.neumf import NeuMF
from lightning_vq.errors import UserError
from lightning_vq.losses import binary_cross_entropy, bpr, margin, sampled_softmax, softmax
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.types import Output, Pairs

SCORES = torch.tensor([[1.0, 0.0, 2.0], [0.5, 0.5, -1.0]], dtype=torch.double)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_by_hand() -> None:
    pairs = [1.0, -1.0, 0.0, 1.5]
    assert bpr(SCORES).item() == pytest.approx(-sum(math.log(sigmoid(x)) for x in pairs) / 4)
    signed = [1.0, 0.0, -2.0, 0.5, -0.5, 1.0]
    assert binary_cross_entropy(SCORES).item() == pytest.approx(-sum(math.log(sigmoid(x)) for x in signed) / 6)
    assert margin(SCORES, 1.0).item() == pytest.approx((0 + 2 + 1 + 0) / 4)
    shares = [math.exp(1) / (math.exp(1) + 1 + math.exp(2)), math.exp(0.5) / (2 * math.exp(0.5) + math.exp(-1))]
    assert sampled_softmax(SCORES, None).item() == pytest.approx(-(math.log(shares[0]) + math.log(shares[1])) / 2)
    assert softmax(SCORES, torch.tensor([2, 0])).item() == pytest.approx(
        -(math.log(math.exp(2) / (math.exp(1) + 1 + math.exp(2))) + math.log(shares[1])) / 2
    )


def test_extreme_scores_stay_finite() -> None:
    far = torch.tensor([[-1e4, 1e4]])
    for value in (bpr(far), binary_cross_entropy(far), margin(far, 1.0), sampled_softmax(far, None)):
        assert torch.isfinite(value)


def test_sampled_softmax_with_odds_is_right_at_the_true_probabilities() -> None:
    draw = torch.Generator().manual_seed(0)
    truth = torch.rand(20, generator=draw, dtype=torch.double) + 0.05
    odds = torch.rand(20, generator=draw, dtype=torch.double) + 0.05
    observed = torch.multinomial(truth, 200_000, replacement=True, generator=draw)
    negatives = torch.multinomial(odds, 200_000 * 5, replacement=True, generator=draw).view(-1, 5)
    items = torch.column_stack([observed, negatives])

    def gradient(log_q: torch.Tensor | None) -> torch.Tensor:
        scores = (truth.log() + 3.0).requires_grad_()
        return torch.autograd.grad(sampled_softmax(scores[items], log_q), scores)[0]

    assert gradient(odds.log()[items]).abs().max() < 2e-3
    assert gradient(None).abs().max() > 2e-2


@pytest.mark.parametrize("loss", ["bpr", "bce", "margin", "sampled_softmax", "softmax"])
def test_each_trains(loss: str) -> None:
    module, _ = trained(
        BPRMF(), {}, epochs=6, loss=loss, held=data(negative_power=0.5, negatives=3) if loss != "softmax" else None
    )
    held = data()
    held.setup()
    batch = next(iter(held.val_dataloader()))
    ranks = module.eval().ranks_of(module.lookup(), batch)["uni99"].float()
    assert ranks.mean() < 42  # 50 is chance


def test_softmax_is_over_every_item() -> None:
    module = CollaborativeFiltering(BPRMF(dim=2, item_bias=False), loss="softmax")
    batch = Pairs(torch.tensor([1]), torch.tensor([[2, 0]]))
    assert module.scored(batch).items is None
    output = Output(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]]))
    assert module.task_loss(output, batch).item() == pytest.approx(-2 + math.log(1 + math.e + math.e**2), abs=1e-6)


@pytest.mark.parametrize("kind", [CFKG, NeuMF])
def test_models_that_have_no_softmax_over_items(kind: type[Backbone]) -> None:
    with pytest.raises(UserError, match=f"{kind.__name__} .*: choose another"):
        CollaborativeFiltering(kind(), loss="softmax")


def test_a_margin_for_another_loss_is_refused() -> None:
    with pytest.raises(UserError, match=r"margin is 2\.0, but the loss is 'bpr'"):
        CollaborativeFiltering(BPRMF(), margin=2.0)
