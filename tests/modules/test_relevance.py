"""Item-to-item regression: its loss and metrics by hand, against float64, and how near it comes to what is possible."""

from pathlib import Path

import numpy as np
import pytest
import torch
from relevances import fitted, raw_scores, relevance, relevance_file, small_gmf

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.data.splits import DEV, TEST
from lightning_vq.errors import UserError
from lightning_vq.modules import RelevanceRegression
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.types import Output, ScoredPairs


def by_hand(scores: list[float]) -> tuple[RelevanceRegression, ScoredPairs]:
    """Return a module of one dimension whose raw scores of two pairs are 2 and -1, with training scores 10 ± 4."""
    module = RelevanceRegression(BPRMF(dim=1, item_bias=False))
    held = relevance()
    held.setup()
    module.build(held.facts()._replace(moments={"score": (10.0, 4.0)}))
    with torch.no_grad():
        module.tables["user"][:2] = torch.tensor([[1.0], [-1.0]])
        module.tables["item"][:2] = torch.tensor([[2.0], [1.0]])
    pairs = torch.tensor([0, 1])
    return module, ScoredPairs(pairs, pairs, torch.tensor(scores, dtype=torch.float64), pairs)


def test_the_loss_by_hand() -> None:
    """Targets (22 - 10) / 4 = 3 and (2 - 10) / 4 = -2 against 2 and -1: both are off by one."""
    module, batch = by_hand([22.0, 2.0])
    output = module.backbone(module.lookup(), module.scored(batch))
    assert module.task_loss(output, batch).item() == pytest.approx(1.0)
    assert module.task_loss(Output(scores=torch.zeros(2, 1)), batch).item() == pytest.approx((9 + 4) / 2)


@torch.no_grad()
def stage_of(module: RelevanceRegression, stage: str, batch: ScoredPairs) -> None:
    module.begin(stage)
    module.evaluate(batch)
    module.finish(stage)


def test_metrics_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions 10 + 4 * 2 = 18 and 10 - 4 = 6 of scores 22 and 2; the mean alone is off by 12 and 8."""
    module, batch = by_hand([22.0, 2.0])
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "log_dict", lambda values: logged.update({k: float(v) for k, v in values.items()}))
    module.look = module.lookup()
    stage_of(module, "test", batch)
    assert logged == pytest.approx(
        {"test/rmse": 4.0, "test/mae": 4.0, "test/rmse_of_mean": np.sqrt((144 + 64) / 2), "test/mse/user": 16.0}
    )
    logged.clear()
    stage_of(module, "val", batch._replace(scores=torch.tensor([18.0, 0.0], dtype=torch.float64)))
    assert logged == pytest.approx({"val/rmse": np.sqrt(18), "val/mae": 3.0})


def test_metrics_are_those_of_float64() -> None:
    held = relevance(eval_batch_size=50)
    module, trainer = fitted(held)
    mean, deviation = held.moments
    for part, found in (
        (TEST, trainer.test(module, datamodule=held, verbose=False)[0]),
        (DEV, trainer.validate(module, datamodule=held, verbose=False)[0]),
    ):
        pairs = held.pairs(part)
        tables = {name: module.tables[name].detach().double().numpy() for name in ("user", "item")}
        weight = module.backbone.output.detach().double().numpy()[0]  # h of GMF
        raw = (tables["user"][pairs.users] * weight * tables["item"][pairs.items]).sum(1)
        scores = pairs.scores.numpy()
        error = mean + deviation * raw - scores
        stage = "test" if part == TEST else "val"
        assert found[f"{stage}/rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
        assert found[f"{stage}/mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
        if part == TEST:
            assert found["test/rmse_of_mean"] == pytest.approx(np.sqrt(((scores - mean) ** 2).mean()), rel=1e-6)
            users = pairs.users.numpy()
            each = [(error[users == user] ** 2).mean() for user in np.unique(users)]
            assert found["test/mse/user"] == pytest.approx(np.mean(each), rel=1e-5)


def test_scores_moved_and_stretched_change_the_rmse_as_much(tmp_path: Path) -> None:
    """The target is centred and scaled: 3 s + 700 is learned as s is, and told in its own units."""
    draw = np.random.default_rng(0)
    pairs = [(n // 20, n % 20, float(x)) for n, x in enumerate(draw.normal(0, 5, 300))]
    found = []
    for name, moved in (("a.csv", lambda s: s), ("b.csv", lambda s: 3 * s + 700)):
        path = relevance_file(tmp_path, [f"u{u},i{i},{moved(s)}" for u, i, s in pairs], name=name)
        module, trainer = fitted(relevance(source=str(path)))
        found.append(trainer.test(module, datamodule=relevance(source=str(path)), verbose=False)[0])
    for name, factor in (("rmse", 3), ("mae", 3), ("rmse_of_mean", 3), ("mse/user", 9)):
        assert found[1][f"test/{name}"] == pytest.approx(factor * found[0][f"test/{name}"], rel=1e-3)


def test_it_approaches_the_floor_of_the_planted_scores() -> None:
    world = PlantedOptions(items=200, branching=(3, 2), mean_length=70, exponent=0.0, cold=0.0)
    held = relevance(planted=world, batch_size=256, block=16)
    module, trainer = fitted(held, epochs=40, lr=1e-2, weight_decay=3e-4)
    (found,) = trainer.test(module, datamodule=held, verbose=False)
    floor = held.best_rmse()
    assert floor is not None
    assert 2.3 * floor < found["test/rmse_of_mean"]
    assert floor < found["test/rmse"] < 1.2 * floor
    assert module.more(held) == {"unseen": {"item": 0.0, "related": 0.0}, "best_rmse": floor}


def test_what_was_tested_in_original_ids() -> None:
    held = relevance()
    module, trainer = fitted(held)
    (found,) = trainer.test(module, datamodule=held, verbose=False)
    cases, users = module.tested(held)
    assert held.raw is not None
    at = {int(row): i for i, row in enumerate(held.raw.rows)}
    for user, item, row, score in zip(*(cases[name] for name in ("user", "item", "row", "score"))):
        place = at[int(row)]
        assert (user.as_py(), item.as_py()) == (f"i{held.raw.users[place]}", f"i{held.raw.items[place]}")
        assert score == held.raw.scores[place]
    assert sorted(cases["row"]) == held.rows[TEST].tolist()
    squared = (cases["prediction"] - cases["score"]) ** 2
    assert cases["squared_error"] == pytest.approx(squared)
    assert np.sqrt(squared.mean()) == pytest.approx(found["test/rmse"], rel=1e-6)
    names = np.array(cases["user"].to_pylist())
    for user, value in zip(users["user"].to_pylist(), users["mse/user"]):
        assert value == pytest.approx(squared[names == user].mean())
    assert np.mean(users["mse/user"]) == pytest.approx(found["test/mse/user"], rel=1e-6)


def test_any_backbone_of_pairs_and_no_other() -> None:
    held = relevance()
    module, _ = fitted(held, backbone=lambda: BPRMF(dim=8))
    assert torch.isfinite(raw_scores(module, held.pairs(TEST))).all()
    with pytest.raises(UserError, match=r"LightGCN needs \['graph'\], but the data provides \['pairs'\]"):
        fitted(held, backbone=LightGCN)


def test_a_number_that_is_not_finite_stops_the_evaluation() -> None:
    held = relevance()
    module, trainer = fitted(held, backbone=small_gmf, epochs=1)
    with torch.no_grad():
        module.tables["item"][:] = torch.nan
    with pytest.raises(UserError, match=r"evaluation stopped: predictions \(108,\) hold NaN or infinity"):
        trainer.test(module, datamodule=held, verbose=False)
