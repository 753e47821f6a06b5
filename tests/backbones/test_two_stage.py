"""FANS' two-stage classifier: a cluster, then an item in it."""

import pytest
import torch
from listed import DIM, FACTS, ITEMS
from small_lists import lists, trained

from lightning_vq.backbones.list_completion.fans import FANS
from lightning_vq.backbones.two_stage import TwoStage
from lightning_vq.errors import UserError
from lightning_vq.modules import ListCompletion
from lightning_vq.types import Facts

OF = torch.tensor([2, 0, 2, 1, 0, 2, 4, 4, 1])  # no item is in cluster 3


def clustered(of: torch.Tensor) -> Facts:
    return FACTS._replace(rows=FACTS.rows | {"item_category": 5}, categories={"item": of})


def made() -> tuple[TwoStage, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    stages = TwoStage(DIM, clustered(OF[:, None])).double()
    return stages, torch.randn(6, DIM).double(), torch.randn(ITEMS, DIM).double(), torch.randn(ITEMS).double()


def reference(stages: TwoStage, hidden: torch.Tensor, keys: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return log p of every item, one item at a time."""
    scores, first = hidden @ keys.T + bias, stages.first(hidden).softmax(1)
    made = []
    for item in range(ITEMS):
        inside = (OF[item] == OF).nonzero()[:, 0]
        made.append(first[:, OF[item]] * scores[:, item].exp() / scores[:, inside].exp().sum(1))
    return torch.stack(made, 1).log()


def test_odds_and_loss_are_those_of_the_definition() -> None:
    stages, hidden, keys, bias = made()
    expected = reference(stages, hidden, keys, bias)
    found = stages.log_odds(hidden, hidden @ keys.T + bias)
    assert torch.allclose(found, expected)
    assert torch.allclose(found.exp()[:, :].sum(1) + stages.first(hidden).softmax(1)[:, 3], torch.ones(6).double())
    targets = torch.tensor([1, 8, 3, 3, 0, 6])
    loss = stages.loss(hidden, keys, bias, targets)
    assert torch.allclose(loss, -expected[torch.arange(6), targets].mean())


def test_by_hand() -> None:
    stages, *_ = made()
    torch.nn.init.zeros_(stages.first.weight)
    torch.nn.init.zeros_(stages.first.bias)
    hidden, keys = torch.zeros(1, DIM).double(), torch.zeros(ITEMS, DIM).double()
    # one of five clusters, then one of its three items
    assert stages.loss(hidden, keys, None, torch.tensor([0])).item() == pytest.approx(torch.tensor(15.0).log().item())


@pytest.mark.parametrize("of", [torch.where(OF == 4, -1, OF)[:, None], torch.stack([OF, OF], 1)])
def test_it_needs_one_cluster_for_each_item(of: torch.Tensor) -> None:
    with pytest.raises(UserError, match="two_stage needs one category for every item"):
        FANS(DIM, 1, 1, two_stage=True).prepare(clustered(of))
    with pytest.raises(UserError, match="two_stage needs one category for every item"):
        FANS(DIM, 1, 1, two_stage=True).prepare(FACTS)


def test_it_learns_by_the_softmax_alone() -> None:
    with pytest.raises(UserError, match="two_stage learns by 'softmax' alone"):
        ListCompletion(FANS(DIM, 1, 1, two_stage=True), loss="bce")


def test_it_learns_from_clusters_of_the_data() -> None:
    module, _ = trained(FANS(8, 1, 1, two_stage=True), {}, lists(clusters=6), epochs=3)
    assert module.trainer.callback_metrics["loss/task"] < torch.tensor(60.0).log()
