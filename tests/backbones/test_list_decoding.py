"""Continuing lists: what is kept is worth what is encoded anew; nothing leaks from the future, padding or the batch."""

import pytest
import torch
from listed import ALL, AUTOREGRESSIVE, CAUSAL, DIM, ITEMS, LENGTH, RAGGED, World, lists, named
from torch import Tensor

from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.backbones.lists import Autoregressive, ListBackbone
from lightning_vq.lookup import Lookup
from lightning_vq.specs import construct, describe

autoregressive = pytest.mark.parametrize("backbone", AUTOREGRESSIVE, ids=named)
causal = pytest.mark.parametrize("backbone", CAUSAL, ids=named)
every = pytest.mark.parametrize("backbone", ALL, ids=named)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@autoregressive
def test_advancing_equals_encoding_the_whole_prefix_anew(backbone: Autoregressive) -> None:
    world = World(backbone)
    coming = torch.randint(ITEMS, (len(RAGGED), 9), generator=torch.Generator().manual_seed(2))  # past the length
    with torch.no_grad():
        hidden, state = backbone.begin(world.look(), lists(RAGGED, 8).items)
        for step in range(coming.shape[1] + 1):
            prefixes = [one + coming[b, :step].tolist() for b, one in enumerate(RAGGED)]
            for b, prefix in enumerate(prefixes):
                alone, _ = backbone.begin(world.look(), torch.tensor([prefix]))
                close(hidden[b], alone[0])
            close(hidden, backbone.begin(world.look(), lists(prefixes).items)[0])
            if step < coming.shape[1]:
                hidden, state = backbone.advance(world.look(), state, coming[:, step])
    assert torch.isfinite(hidden).all()


@autoregressive
def test_a_state_can_be_continued_in_two_ways(backbone: Autoregressive) -> None:
    world = World(backbone)
    with torch.no_grad():
        _, state = backbone.begin(world.look(), lists(RAGGED).items)
        some, other = torch.full((len(RAGGED),), 3), torch.full((len(RAGGED),), 7)
        first, after = backbone.advance(world.look(), state, some)
        backbone.advance(world.look(), state, other)
        again, same = backbone.advance(world.look(), state, some)
        close(first, again)
        close(backbone.advance(world.look(), after, other)[0], backbone.advance(world.look(), same, other)[0])


@causal
def test_what_is_learned_is_what_is_decoded(backbone: Autoregressive) -> None:
    world = World(backbone)
    with torch.no_grad():
        hidden, places = backbone.learned(world.look(), lists(RAGGED))
        assert places.tolist() == [b * LENGTH + t for b, one in enumerate(RAGGED) for t in range(1, len(one))]
        for vector, place in zip(hidden, places.tolist()):
            b, t = divmod(place, LENGTH)
            close(vector, backbone.begin(world.look(), torch.tensor([RAGGED[b][:t]]))[0][0])


@causal
def test_nothing_leaks_from_later_items(backbone: Autoregressive) -> None:
    world = World(backbone)
    items = lists(RAGGED).items
    with torch.no_grad():
        before, places = backbone.learned(world.look(), lists(RAGGED))
        for t in range(1, LENGTH):
            changed = torch.where((items >= 0) & (torch.arange(LENGTH) >= t), (items + 4) % ITEMS, items)
            after, _ = backbone.learned(world.look(), lists(RAGGED)._replace(items=changed))
            early = places % LENGTH <= t
            close(after[early], before[early])
            late = places % LENGTH == t + 1
            assert not late.any() or not torch.allclose(after[late], before[late])


def test_bidirectional_attention_sees_both_sides() -> None:
    world = World(AUTOREGRESSIVE[-1])
    with torch.no_grad():
        places = torch.tensor([2])
        hidden = [
            world.backbone._encoded(world.look(), torch.tensor([one]), places)
            for one in ([1, 2, ITEMS, 3], [1, 2, ITEMS, 4], [5, 2, ITEMS, 3])
        ]
    assert not torch.allclose(hidden[0], hidden[1])
    assert not torch.allclose(hidden[0], hidden[2])


@autoregressive
def test_width_of_padding_and_company_do_not_matter(backbone: Autoregressive) -> None:
    world = World(backbone)

    def begun(batch: list[list[int]], width: int | None = None) -> Tensor:
        return backbone.begin(world.look(), lists(batch, width).items)[0]

    def learned(batch: list[list[int]], width: int | None = None) -> Tensor:
        return backbone.learned(world.look(), lists(batch, width))[0]

    with torch.no_grad():
        for made in (begun, learned) if backbone in CAUSAL else (begun,):
            together = made(RAGGED)
            close(made(RAGGED, 12), together)
            close(torch.cat([made([one]) for one in RAGGED]), together)
            close(torch.cat([made(RAGGED[:2]), made(RAGGED[2:], 9)]), together)


@every
@pytest.mark.parametrize("batch", [[[], [], []], [[1], [], [2]], [[], [3, 4, 5], [6]]])
def test_lists_of_nothing_make_no_nan(backbone: ListBackbone, batch: list[list[int]]) -> None:
    world = World(backbone)
    backbone.train()
    output = backbone(world.look(), lists(batch, 3))
    assert output.targets is not None
    assert output.hidden is not None
    assert output.hidden.shape == (len(output.targets), DIM)
    grads = torch.autograd.grad(output.hidden.sum(), list(backbone.parameters()), allow_unused=True)
    for part in (output.hidden, *grads):
        assert part is None or torch.isfinite(part).all()


@every
def test_the_narrowest_batch(backbone: ListBackbone) -> None:
    world = World(backbone)
    output = backbone(world.look(), lists([[1], [2]]))
    assert torch.isfinite(output.hidden).all()


@every
def test_bfloat16_comes_near(backbone: ListBackbone) -> None:
    world = World(backbone)
    values = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = backbone(world.look(), lists(RAGGED))
            values.append(output.hidden.detach().float())
            output.hidden.float().square().sum().backward()
            if isinstance(backbone, Autoregressive):
                hidden, state = backbone.begin(world.look(), lists(RAGGED).items)
                hidden, state = backbone.advance(world.look(), state, torch.arange(len(RAGGED)))
                values.append(hidden.detach().float())
    half = len(values) // 2
    for exact, near in zip(values[:half], values[half:]):
        assert float((exact - near).norm() / exact.norm()) < 0.1


@every
def test_gradients_reach_everything(backbone: ListBackbone) -> None:
    fresh = construct(describe(backbone), ListBackbone)
    world = World(fresh)
    fresh.train()
    torch.manual_seed(0)
    output = fresh(world.look(), lists(RAGGED * 20))
    loss = torch.nn.functional.cross_entropy(
        output.hidden @ output.keys.T + (0 if output.bias is None else output.bias), output.targets
    )
    for name, grad in zip(world.leaves(), torch.autograd.grad(loss, list(world.leaves().values()))):
        assert grad.any(), name


def test_a_kept_item_is_looked_up_once() -> None:
    asked: list[int] = []
    world = World(SASRec(DIM))

    class Counted(Lookup):
        def __call__(self, name: str, ids: Tensor) -> Tensor:
            asked.append(ids.numel())
            return super().__call__(name, ids)

    look = world.look()
    look.__class__ = Counted
    _, state = world.backbone.begin(look, lists(RAGGED).items)  # type: ignore[operator]
    world.backbone.advance(look, state, torch.zeros(len(RAGGED)).long())  # type: ignore[operator]
    assert asked == [sum(map(len, RAGGED)), len(RAGGED)]
