"""Decoding by hand, with a backbone whose choices are known: after item i come i + 1, i + 2, ..."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_vq.backbones.lists import Autoregressive, Parallel
from lightning_vq.errors import UserError
from lightning_vq.list_metrics import depth_by_depth
from lightning_vq.lookup import Lookup
from lightning_vq.modules.decoding import choices, given, next_hidden
from lightning_vq.types import Facts, Lists

N = 7


def after(items: Tensor) -> Tensor:
    """Return vectors (B, N), by the one-hot table of items, that like item + 1 best, then item + 2, and so on."""
    return -((torch.arange(N) - items[:, None] - 1) % N).float()


def last_of(items: Tensor) -> Tensor:
    return items.gather(1, (items >= 0).sum(1, keepdim=True) - 1).squeeze(1)


class Counting(Autoregressive):
    """Counts on from the last item."""

    def __init__(self) -> None:
        super().__init__(N, tied=True)
        self.fed: list[list[int]] = []

    def learned(self, look: Lookup, batch: Lists) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def begin(self, look: Lookup, items: Tensor, creators: Tensor | None = None) -> tuple[Tensor, Any]:
        return after(last_of(items)), None

    def advance(self, look: Lookup, state: Any, items: Tensor) -> tuple[Tensor, Any]:
        self.fed.append(items.tolist())
        return after(items), None


class Filling(Parallel):
    """Knows at each place how far it is from the last item."""

    def __init__(self) -> None:
        super().__init__(N, tied=True)

    def learned(self, look: Lookup, batch: Lists) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def fill(self, look: Lookup, items: Tensor, counts: Tensor) -> Tensor:
        last = last_of(items)
        return torch.stack([after(last + i) for i in range(int(counts.max()))], 1)


def one_hot(backbone: Any) -> Lookup:
    backbone.prepare(Facts({"item": N}, {}, {}))
    return Lookup({"item": torch.eye(N)}, {})


INPUTS = torch.tensor([[0, 1, 2], [5, -1, -1]])


@pytest.mark.parametrize("backbone", [Counting(), Filling()])
def test_choices_of_every_position(backbone: Any) -> None:
    found = choices(backbone, one_hot(backbone), INPUTS, torch.tensor([3, 2]), 2)
    assert found[0].tolist() == [[3, 4], [4, 5], [5, 6]]
    assert found[1, :2].tolist() == [[6, 0], [0, 1]]
    assert depth_by_depth(found, torch.tensor([3, 2]), 4).tolist() == [[3, 4, 5, 6], [6, 0, 1, -1]]


def test_an_autoregressive_backbone_is_fed_its_first_choice() -> None:
    backbone = Counting()
    choices(backbone, one_hot(backbone), INPUTS, torch.tensor([3, 2]), 2)
    assert backbone.fed == [[3, 6], [4, 0]]


def test_no_more_choices_than_items() -> None:
    backbone = Counting()
    assert choices(backbone, one_hot(backbone), INPUTS, torch.tensor([1, 1]), 50).shape == (2, 1, N)


@pytest.mark.parametrize("backbone", [Counting(), Filling()])
def test_the_next_item(backbone: Any) -> None:
    assert next_hidden(backbone, one_hot(backbone), INPUTS).argmax(1).tolist() == [3, 6]


def test_scores_that_are_no_numbers_stop_the_evaluation() -> None:
    backbone = Counting()
    one_hot(backbone)
    with pytest.raises(UserError, match=r"scores \(2, 7\) hold NaN"):
        choices(backbone, Lookup({"item": torch.full((N, N), torch.nan)}, {}), INPUTS, torch.tensor([1, 1]), 2)


def test_a_list_of_which_all_is_to_come_but_one() -> None:
    inputs, targets = given(torch.tensor([[4, 5, 6], [1, 2, -1]]), torch.tensor([1, 1]))
    assert inputs.tolist() == [[4], [1]]
    assert targets.tolist() == [[5, 6], [2, -1]]
