"""Click-through rate trained on a small table: it learns, and its metrics are those of its rows, by group too."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from clicks import ITEMS, SCHEMA, USERS, clicks, fitted, logits, samples
from lightning.pytorch import Trainer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.modules import ClickThroughRate
from lightning_vq.sources.schema import Schema
from lightning_vq.types import Samples


def one_hot(batch: Samples) -> np.ndarray:
    users, items = (np.eye(rows + 1)[batch.fields[:, i]] for i, rows in enumerate((USERS, ITEMS)))
    return np.hstack([users, items, batch.numbers.numpy()])


def test_it_learns_what_a_sum_over_fields_cannot(path: Path, learned: tuple[ClickThroughRate, Trainer, Path]) -> None:
    module, trainer, _ = learned
    train, test = samples(path, TRAIN), samples(path)
    floor = LogisticRegression().fit(one_hot(train), train.labels).predict_proba(one_hot(test))[:, 1]
    least = roc_auc_score(test.labels, floor)
    (found,) = trainer.test(module, datamodule=clicks(path), verbose=False)
    assert 0.5 < least < 0.7
    assert found["test/auc"] > 0.8 > least + 0.1
    chances = torch.sigmoid(logits(module, test).double())
    assert found["test/auc"] == pytest.approx(roc_auc_score(test.labels, chances), abs=1e-6)  # logged as float32
    assert found["test/logloss"] == pytest.approx(log_loss(test.labels, chances), abs=1e-6)
    assert found["test/ece"] < 0.15
    assert found["test/logloss"] < log_loss(test.labels, floor)
    (found,) = trainer.validate(module, datamodule=clicks(path), verbose=False)
    dev = samples(path, DEV)
    assert found["val/auc"] == pytest.approx(roc_auc_score(dev.labels, logits(module, dev)), abs=1e-6)


def test_metrics_by_group_are_those_of_its_rows(path: Path, learned: tuple[ClickThroughRate, Trainer, Path]) -> None:
    module, trainer, _ = learned
    held = clicks(path)
    (found,) = trainer.test(module, datamodule=held, verbose=False)
    assert held.encoded is not None
    users, test = held.encoded.samples[TEST].groups, held.encoded.samples[TEST]
    assert users is not None
    scores, areas, sizes, gains = logits(module, test), [], [], {}
    for user in sorted(set(users.tolist())):
        labels, mine = test.labels[users == user].numpy(), scores[users == user].numpy()
        if 0 < labels.sum() < len(labels):
            areas.append(roc_auc_score(labels, mine))
            sizes.append(len(labels))
        if labels.any():
            hits = labels[np.lexsort((labels, -mine))][:5]
            ideal = sum(1 / math.log2(place + 2) for place in range(min(5, int(labels.sum()))))
            gains[user] = sum(hit / math.log2(place + 2) for place, hit in enumerate(hits)) / ideal
    assert found["test/gauc/user"] == pytest.approx(np.average(areas, weights=sizes), abs=1e-6)
    assert found["test/ndcg@5/user"] == pytest.approx(np.mean(list(gains.values())), abs=1e-6)
    cases, by_user = module.tested(held)
    assert held.encoded.group_ids is not None
    names = held.encoded.group_ids.to_pylist()
    assert by_user["user"].to_pylist() == [names[user] for user in gains]
    assert by_user["ndcg@5/user"].tolist() == pytest.approx(list(gains.values()), abs=1e-6)
    clicked = dict(zip(test.cases.tolist(), zip(users.tolist(), test.labels.tolist())))
    assert len(cases["row"]) == int(test.labels.sum())
    for case, user in zip(cases["row"].to_pylist(), cases["user"].to_pylist()):
        assert (names[clicked[case][0]], clicked[case][1]) == (user, 1)


def test_rows_of_no_group_count_in_no_group(path: Path, tmp_path: Path) -> None:
    table = pq.read_table(path)
    users = [None if i % 5 == 0 else user for i, user in enumerate(table["user"].to_pylist())]
    other = tmp_path / "gaps.parquet"
    pq.write_table(table.append_column("who", [users]), other)
    held = clicks(other, schema=replace(SCHEMA, group="who"))
    module, trainer = fitted(held, epochs=1)
    (found,) = trainer.test(module, datamodule=held, verbose=False)
    assert held.encoded is not None
    groups, test = held.encoded.samples[TEST].groups, held.encoded.samples[TEST]
    assert groups is not None
    there = groups >= 0
    assert 0 < (~there).sum() < 100
    scores, areas, sizes = logits(module, test), [], []
    for group in set(groups[there].tolist()):
        labels = test.labels[groups == group]
        if 0 < labels.sum() < len(labels):
            areas.append(roc_auc_score(labels, scores[groups == group]))
            sizes.append(len(labels))
    assert found["test/gauc/who"] == pytest.approx(np.average(areas, weights=sizes), abs=1e-6)
    cases, by_user = module.tested(held)
    assert sorted(cases["row"].to_pylist()) == test.cases[there & (test.labels > 0)].tolist()
    assert all(users[row] == user for row, user in zip(cases["row"].to_pylist(), cases["user"].to_pylist()))
    assert len(by_user["user"]) == len(set(groups[there & (test.labels > 0)].tolist()))


@pytest.mark.parametrize("rows", [1, 2])
def test_a_test_of_a_single_row_is_a_test(tmp_path: Path, rows: int) -> None:
    lines = [f"u{n % 3},i{n % 4},{n % 2},train" for n in range(12)] + ["u0,i0,1,dev", "u0,i1,0,dev"]
    (tmp_path / "t.csv").write_text("\n".join(["user,item,click,part", *lines, *["u1,i1,1,test"] * rows, ""]))
    schema = Schema(["user", "item"], label="click", split="part", group="user")
    held = clicks(tmp_path / "t.csv", schema=schema)
    module, trainer = fitted(held, epochs=1)
    (found,) = trainer.test(module, datamodule=held, verbose=False)
    assert math.isnan(found["test/auc"])
    assert 0 < found["test/logloss"] < 2
    assert len(module.tested(held)[0]["user"]) == rows


def test_a_part_of_one_label_cannot_choose_an_epoch(tmp_path: Path) -> None:
    lines = [f"u{n % 3},i{n % 4},{n % 2},train" for n in range(12)] + ["u0,i0,1,dev", "u0,i1,1,dev", "u1,i1,1,test"]
    (tmp_path / "t.csv").write_text("\n".join(["user,item,click,part", *lines, ""]))
    held = clicks(tmp_path / "t.csv", schema=Schema(["user", "item"], label="click", split="part"))
    with pytest.raises(UserError, match=r"t\.csv: all 2 rows of the dev part have the label 1$"):
        held.setup()
