"""FANS: what is masked at which time of training, and filling all places at once."""

import pytest
import torch
from listed import DIM, ITEMS, LENGTH, RAGGED, World, lists
from torch import Tensor

from lightning_vq.backbones.list_completion.fans import FANS


def masks(backbone: FANS, progress: float, training: bool = True) -> list[int]:
    backbone.train(training)
    backbone.progress = progress
    return [int(backbone.masked(torch.tensor([n]))) for n in (1, 2, 5, 7, 12)]


@pytest.mark.parametrize(
    ("epoch", "expected"),  # of 20 epochs, T = 5: rho = .2, .2, .4, .6, .8, 1, 1
    [
        (0, [1, 1, 1, 1, 2]),
        (3, [1, 1, 1, 1, 2]),
        (4, [1, 1, 2, 2, 4]),
        (8, [1, 1, 3, 4, 7]),
        (12, [1, 1, 4, 5, 9]),
        (16, [1, 2, 5, 7, 12]),
        (20, [1, 2, 5, 7, 12]),
    ],
)
def test_the_curriculum_by_hand(epoch: int, expected: list[int]) -> None:
    backbone = FANS(DIM, 1, 1)
    assert masks(backbone, epoch / 20) == expected
    assert masks(backbone, epoch / 20, training=False) == [1, 2, 5, 7, 12]
    assert masks(FANS(DIM, 1, 1, steps=1), epoch / 20) == [1, 2, 5, 7, 12]


@pytest.mark.parametrize("steps", [3, 5, 7, 10, 22])
def test_every_epoch_of_any_schedule(steps: int) -> None:
    backbone = FANS(DIM, 1, 1, steps=steps).train()
    for epochs in (10, 20, 22, 33, 60):
        for epoch in range(epochs):
            backbone.progress = epoch / epochs
            assert int(backbone.masked(torch.tensor([1000 * steps]))) == 1000 * (epoch * steps // epochs + 1)


def shown(backbone: FANS, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, list[int]]:
    """Return what ragged lists look like to the encoder, and the places that are learned."""
    world, seen = World(backbone), []

    def watched(look: object, items: Tensor, known: Tensor, places: Tensor) -> Tensor:
        seen.append(items)
        return torch.zeros(len(places), DIM)

    monkeypatch.setattr(backbone, "encoded", watched)
    backbone.train()
    _, places = backbone.learned(world.look(), lists(RAGGED))
    return seen[0], places.tolist()


def test_the_last_items_are_masked_and_the_earlier_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = FANS(DIM, 1, 1, known_probability=0.0)
    backbone.progress = 0.5  # the third of five steps
    items, places = shown(backbone, monkeypatch)
    # of 5, 1, 3, 7, 2 items 3, 1, 2, 4, 1 are to come, of which floor(.6 n) are masked, one at least
    hidden = [[4], [0], [2], [5, 6], [1]]
    assert places == [b * LENGTH + t for b, some in enumerate(hidden) for t in some]
    for b, one in enumerate(RAGGED):
        assert [i for i in items[b].tolist() if i >= 0] == [ITEMS if t in hidden[b] else i for t, i in enumerate(one)]


def test_given_items_are_hidden_too(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    backbone = FANS(DIM, 1, 1, known_probability=0.9)
    items, places = shown(backbone, monkeypatch)
    given = [b * LENGTH + t for b, one in enumerate(RAGGED) for t in range(len(one) // 2)]
    assert len(set(places) & set(given)) > len(given) // 2
    assert (items.flatten()[given] == ITEMS).any()
    changed = (items != lists(RAGGED).items).flatten().nonzero().flatten().tolist()
    assert set(changed) <= set(places)


def test_filling_is_of_each_list_alone_and_of_what_was_learned() -> None:
    world = World(FANS(DIM, 2, 2))
    counts = torch.tensor([2, 4, 1, 0, 3])
    given = [one[: max(len(one) // 2, 1)] for one in RAGGED]
    with torch.no_grad():
        hidden = world.backbone.fill(world.look(), lists(given, 9).items, counts)  # type: ignore[operator]
        assert hidden.shape == (5, 4, DIM)
        for b, one in enumerate(given):
            n = int(counts[b])
            assert not hidden[b, n:].any()
            if n:
                alone = world.backbone.fill(world.look(), torch.tensor([one]), counts[b : b + 1])  # type: ignore[operator]
                torch.testing.assert_close(hidden[b, :n], alone[0], atol=1e-5, rtol=1e-5)
        whole, _ = world.backbone.learned(world.look(), lists([RAGGED[3]]))  # type: ignore[operator]
        half = lists([RAGGED[3][:3]]).items
        again = world.backbone.fill(world.look(), half, torch.tensor([4]))  # type: ignore[operator]
        torch.testing.assert_close(whole, again[0], atol=1e-5, rtol=1e-5)
        long = world.backbone.fill(world.look(), half, torch.tensor([20]))  # type: ignore[operator]
    assert torch.isfinite(long).all()


def test_filling_in_bfloat16() -> None:
    world = World(FANS(DIM, 2, 2))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        hidden = world.backbone.fill(world.look(), lists([[1, 2], [3]]).items, torch.tensor([1, 3]))  # type: ignore[operator]
    assert torch.isfinite(hidden).all()
    assert not hidden[0, 1:].any()
