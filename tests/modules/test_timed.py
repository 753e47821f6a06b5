"""The three stages of DQRec: what passes between them, and what two towers score, against loops."""

from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from small_timed import third_stage, timed

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.timed.dual_tower import DualTower
from lightning_vq.data import TimedData, timed_evaluation
from lightning_vq.data.splits import TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.modules import Recommender, TimedFiltering
from lightning_vq.modules import timed as timed_module
from lightning_vq.modules.patterns import Augmentation
from lightning_vq.modules.ranking import reported
from lightning_vq.types import Output, Side, TimedCases, TimedPairs


def by_hand(module: TimedFiltering, data: TimedData, vocab: Any, entity: int, moment: int) -> torch.Tensor:
    """Return the vector (D,) of a user or item right before a moment, from the interactions themselves."""
    events = []
    for part, moments in data.moments.items():
        users, items = data.parts[part]
        mine, others = (users, items) if vocab == "user" else (items, users)
        events += [(int(m), int(o)) for e, o, m in zip(mine, others, moments) if e == entity and m < moment]
    recent = [other for _, other in sorted(events)][-data.recent :]
    row = torch.tensor([recent + [-1] * (data.recent - len(recent))])
    state = data.timelines[TEST][vocab].first[entity] + len(events)
    side = Side(torch.tensor([entity]), state[None], row.int())
    return module.backbone.vectors(module.lookup(), vocab, module.side(vocab, side, TEST))[0]  # type: ignore[operator]


@pytest.mark.parametrize(("stage", "wide", "few"), [(1, 16, 4), (3, 16, 4), (3, 0, 4), (3, 0, 0)])
def test_ranks_equal_a_loop(stage: int, wide: int, few: int, stages: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of time over all batches; batch by batch; reading each candidate's vector."""
    monkeypatch.setattr(timed_evaluation, "WIDE", wide)
    monkeypatch.setattr(timed_module, "FEW", few)
    monkeypatch.setattr(timed_module, "READ", 100)
    module, data = stages[stage], timed(eval_protocols=["batch", "alone"] if wide else ["batch"])
    data.setup()
    assert data.test_dataloader().of.together == bool(wide)  # type: ignore[attr-defined]
    module.eval()
    cases, _ = module.tested(data)
    users, items = data.parts[TEST]
    batches = data.evaluation.batches(TEST)
    touched = {u: set() for u in range(data.user_count)}
    for part in data.parts.values():
        for user, item in zip(*part):
            touched[int(user)].add(int(item))
    with torch.no_grad():
        for case in (0, 17, len(users) - 1):
            user, item, moment = int(users[case]), int(items[case]), int(data.moments[TEST][case])
            mine = by_hand(module, data, "user", user, moment)
            scores = {
                other: float(mine @ by_hand(module, data, "item", other, moment))
                for other in range(data.item_count)
                if other == item or other not in touched[user]
            }
            of_batch = set(items[batches.of == batches.of[case]].tolist())
            for protocol, among in (("alone", set(scores)), ("batch32", of_batch & set(scores))):
                if protocol == "alone" and not wide:
                    continue
                better = sum(scores[other] >= scores[item] - 1e-6 for other in among)
                assert int(cases[f"rank/{protocol}"][case]) == better, (case, protocol)


def test_reported_is_the_mean_over_interactions(stages: Any) -> None:
    """And a user's own value is the mean over hers."""
    module, data = stages[3], timed()
    data.setup()
    cases, users = module.tested(data)
    hits = torch.from_numpy(cases["rank/alone"] <= 5).double()
    owners = torch.tensor(pc.index_in(cases["user"], users["user"]).to_pylist())
    held = torch.bincount(owners)
    mine = torch.zeros(len(held)).double().index_add_(0, owners, hits) / held
    torch.testing.assert_close(torch.from_numpy(users["hr@5/alone"]).double(), mine)
    assert len(held.unique()) > 1
    told = reported("alone", module.results["alone"][1], torch.from_numpy(users["hr@5/alone"]))
    assert float(told) == pytest.approx(float(hits.mean()))


def test_predictions_know_nothing_of_the_test(stages: Any) -> None:
    data = timed()
    data.setup()
    held = set(zip(*(part.tolist() for part in data.parts[TEST])))
    shown = 0
    for batch in data.predict_dataloader():
        if isinstance(batch, TimedCases):
            for user, items in zip(batch.user.ids.tolist(), batch.user.recent.tolist()):
                assert not held & {(user, item) for item in items}
                shown += len(items)
        else:
            for item, users in zip(batch.ids.tolist(), batch.recent.tolist()):
                assert not held & {(user, item) for user in users}
    assert shown > 100


def test_validation_knows_nothing_of_the_test() -> None:
    data = timed()
    data.setup()
    held = set(zip(*(part.tolist() for part in data.parts[TEST])))
    for batch in data.val_dataloader():
        if isinstance(batch, Side):
            for item, users in zip(batch.ids.tolist(), batch.recent.tolist()):
                assert not held & {(user, item) for user in users}


def test_representations_are_read_as_they_were_written(stages: Any) -> None:
    folder, first, second, _ = stages
    data = timed()
    data.setup()
    vectors = pq.read_table(folder / "1" / "representations" / "item.parquet")["vector"].to_pylist()
    assert torch.equal(torch.tensor(vectors), second.tables["item"])
    line = data.timelines[TRAIN]["item"]
    expected = first.backbone.vectors(
        first.lookup(), "item", Side(torch.arange(line.count), line.now, line.recent(line.now, data.recent))
    )
    torch.testing.assert_close(torch.tensor(vectors), expected)


def test_a_checkpoint_opens_alone(stages: Any) -> None:
    folder, _, _, third = stages
    opened = Recommender.load_from_checkpoint(folder / "3" / "best.ckpt")
    assert isinstance(opened, TimedFiltering)
    for name, value in third.state_dict().items():
        assert torch.equal(opened.state_dict()[name], value)


def test_inputs_are_those_of_equation_20() -> None:
    """[own, codes, mean of the items met, mean of the users linked], in float64 by hand."""
    backbone = DualTower(4, layers=(6,), semantic_ids=("user",), links=("user",))
    data = timed()
    data.setup()
    facts = data.facts()._replace(patterns={"user": (3, 2)})
    facts = facts._replace(rows=facts.rows | {"user_pattern": 5})
    module = TimedFiltering(backbone, patterns="unused")
    module.build(facts)
    side = Side(
        torch.tensor([2, 3]), torch.tensor([0, 0]), torch.tensor([[1, 5, -1], [-1, -1, -1]]),
        torch.tensor([[2, 4], [0, 3]]), torch.tensor([[7, -1, 9], [-1, 8, -1]]),
    )  # fmt: skip
    tables = {name: table.double() for name, table in module.tables.items()}
    user, item, pattern = tables["user"], tables["item"], tables["user_pattern"]
    x = torch.stack([
        torch.cat([user[2], pattern[2], pattern[4], (item[1] + item[5]) / 2, (user[7] + user[9]) / 2]),
        torch.cat([user[3], pattern[0], pattern[3], torch.zeros(4).double(), user[8]]),
    ])  # fmt: skip
    first, last = backbone.towers["user"]
    hidden = torch.nn.functional.gelu(x @ first.weight.double().T + first.bias.double())
    expected = hidden @ last.weight.double().T + last.bias.double()
    found = backbone.vectors(module.lookup(), "user", side).double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_the_loss_is_of_scores_or_of_chances() -> None:
    """log(1 + exp(-1)), and with chances log(1 + exp(-(sigmoid(1) - sigmoid(0))))."""
    output, batch = Output(scores=torch.tensor([[1.0, 0.0]])), TimedPairs(*torch.zeros(3, 1, dtype=torch.int64))
    found = [float(TimedFiltering(DualTower(8), loss=of).task_loss(output, batch)) for of in ("bpr", "bpr_of_chances")]  # type: ignore[arg-type]
    assert found == pytest.approx([0.313262, 0.584276], abs=1e-6)


def test_features_that_are_not_asked_for_are_left_out() -> None:
    found = []
    for asked in ({}, {"user_features": [], "item_features": ["leaf"]}):
        data = timed(**asked)
        data.setup()
        found.append({vocab: rows.shape[1] for vocab, rows in data.facts().features.items()})
    assert found[0]["item"] > found[1]["item"] == 1
    assert "user" in found[0]
    assert "user" not in found[1]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"source": "ml-1m-seq"}, "no times of all interactions together, only places within each user's history"),
    ({"recent": 0}, "recent is 0"),
    ({"eval_protocols": ["full"]}, "eval_protocols has 'full'"),
    ({"item_features": ["lef"]}, "item_features names 'lef', which the planted data has not; did you mean 'leaf'"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_data_that_cannot_be(options: dict[str, Any], message: str) -> None:
    if options.get("source") and not TimedData(**options)._folder().is_dir():  # type: ignore[union-attr]
        pytest.skip(f"{options['source']} is not here")
    with pytest.raises(UserError, match=message):
        TimedData(**options).setup()


def test_modules_that_cannot_be(stages: Any, tmp_path: Path) -> None:
    folder = stages[0]
    with pytest.raises(UserError, match="BPRMF has no two towers"):
        TimedFiltering(BPRMF(8))
    with pytest.raises(UserError, match="asks for semantic ids or links"):
        TimedFiltering(DualTower(8, links=("user",))).check(timed())
    with pytest.raises(UserError, match="asks for neither"):
        TimedFiltering(DualTower(8), patterns=str(folder / "2")).check(timed())
    with pytest.raises(UserError, match="is not a run folder"):
        third_stage(tmp_path, tmp_path / "nothing")
    other = timed(min_item=5)
    other.setup()
    with pytest.raises(UserError, match="codes other items than those of the data"):
        Augmentation(folder / "2", other, 4, 0, False)
