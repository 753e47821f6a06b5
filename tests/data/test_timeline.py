"""States and sequences against a loop, and no look into the future."""

import pytest
import torch

from lightning_vq.data.timed import TimedData
from lightning_vq.data.timeline import Timeline
from lightning_vq.sources.named import named_source
from lightning_vq.types import TimedCases


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return 60 interactions of 7 entities with others, at moments of 0..79; entity 5 has none."""
    g = torch.Generator().manual_seed(seed)
    entities = torch.randint(7, (60,), generator=g)
    entities[entities == 5] = 6
    return entities, torch.randint(100, (60,), generator=g), torch.randperm(80, generator=g)[:60]


def test_what_had_been_met_equals_a_loop() -> None:
    entities, others, moments = drawn()
    line = Timeline(entities, others, moments, 7, 80)
    for entity in range(7):
        mine = [(int(m), int(o)) for e, o, m in zip(entities, others, moments) if e == entity]
        for moment in range(81):
            before = [other for when, other in sorted(mine) if when < moment]
            state = line.before(torch.tensor([entity]), torch.tensor([moment]))
            assert line.owners(state).tolist() == [entity]
            assert int(state - line.first[entity]) == len(before)
            expected = [-1] * max(0, 4 - len(before)) + before[-4:]
            assert line.recent(state, 4)[0].tolist() == expected
    assert line.states == 67
    assert line.now.tolist() == line.before(torch.arange(7), torch.full((7,), 80)).tolist()


def test_states_of_any_shape() -> None:
    line = Timeline(*drawn(), 7, 80)
    states = line.before(torch.arange(6).view(2, 3), torch.tensor([[10], [70]]))
    assert line.recent(states, 5).shape == (2, 3, 5)
    assert torch.equal(line.recent(states, 5)[1, 2], line.recent(states[1, 2], 5))


@pytest.mark.parametrize("moments", [[0, 1, 7, 7, 40, 79, 80], [33], [80, 80]])
def test_all_pairs_at_once_are_the_pairs_one_by_one(moments: list[int]) -> None:
    line, when = Timeline(*drawn(), 7, 80), torch.tensor(moments)
    for entities in (torch.arange(7), torch.tensor([5, 1])):
        states, places = line.during(entities, when)
        assert torch.equal(states[places], line.before(entities[None], when[:, None]))
        assert len(states.unique()) == len(states)


def _moments(data: TimedData, part_of: dict[int, torch.Tensor]) -> torch.Tensor:
    """Return when each user met each item (U, N), beyond all where never."""
    table = torch.full((data.user_count, data.item_count), 1 << 40)
    for part, moments in part_of.items():
        users, items = data.parts[part]
        table[users, items] = moments
    return table


@pytest.mark.parametrize("source", ["planted", "ml-100k"])
def test_no_sequence_looks_into_the_future(source: str) -> None:
    """On ml-100k by its real times: nothing in a sequence was met at the moment of the interaction or later."""
    if source != "planted" and not named_source(source).folder(None).is_dir():
        pytest.skip(f"{source} is not here")
    data = TimedData(source, batch_size=4096, block=4, recent=20)
    data.setup()
    when = _moments(data, data.moments)
    whole = data.timelines[2]["item"]
    trained = _moments(data, {0: data.moments[0]})
    seen = 0
    for block in data.train_dataloader():
        rows = block.rows
        for known, seqs, moments in (
            (trained[rows.users[:, None]].squeeze(1), rows.user_recent, rows.moments),
            (trained.T[rows.items[:, 0]], rows.item_recent[:, 0], rows.moments),
            (trained.T[rows.items[:, 1]], rows.item_recent[:, 1], rows.moments),
        ):
            times = known.gather(1, seqs.long().clamp_min(0))
            assert bool(((times < moments[:, None]) | (seqs < 0)).all())
            seen += int((seqs >= 0).sum())
    assert seen > 10_000
    if source == "ml-100k":  # the order of moments is that of the clock
        raw = data.raw
        assert raw is not None
        clock = torch.from_numpy(raw.order[data.rows[0]])
        order = torch.argsort(data.moments[0])
        assert bool((clock[order].diff() >= 0).all())
    cases = 0
    for batch in data.test_dataloader():
        if not isinstance(batch, TimedCases):
            continue
        _, items = data.parts[2]
        moments = data.moments[2][batch.cases]
        states = batch.item_states[batch.places]
        own = states.gather(1, batch.positives[:, None])[:, 0]
        assert torch.equal(whole.owners(own), items[batch.cases])
        times = when[batch.user.ids].gather(1, batch.user.recent.long().clamp_min(0))
        assert bool(((times < moments[:, None]) | (batch.user.recent < 0)).all())
        for place in range(0, len(batch.cases), 11):
            recent = whole.recent(states[place], 20)
            times = when.T[whole.owners(states[place])].gather(1, recent.long().clamp_min(0))
            assert bool(((times < moments[place]) | (recent < 0)).all())
        cases += len(batch.cases)
    assert cases == len(data.parts[2][0])


def test_training_sees_nothing_of_what_is_held_out() -> None:
    data = TimedData(recent=30)
    data.setup()
    held = {(int(u), int(i)) for part in (1, 2) for u, i in zip(*data.parts[part])}
    block = next(iter(data.train_dataloader()))
    for user, recent in zip(block.rows.users[:500].tolist(), block.rows.user_recent[:500].tolist()):
        assert not held & {(user, item) for item in recent}
    for item, recent in zip(block.rows.items[:500, 0].tolist(), block.rows.item_recent[:500, 0].tolist()):
        assert not held & {(user, item) for user in recent}


def test_an_item_has_not_met_the_user_to_come() -> None:
    data = TimedData()
    data.setup()
    rows = next(iter(data.train_dataloader())).rows
    assert not bool((rows.item_recent[:, 0] == rows.users[:, None]).any())
    assert not bool((rows.user_recent == rows.items[:, :1]).any())
