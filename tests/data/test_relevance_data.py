"""Scored pairs as training sees them: shares and seeds of the split, what is learned of training alone, batches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from relevances import PLANTED, relevance, relevance_file

from lightning_vq.data import RelevanceData
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError

LINES = [f"a{n % 7},b{n % 11},{(n * 37) % 101 - 50}" for n in range(77)]


def ready(**options: object) -> RelevanceData:
    held = relevance(**options)
    held.setup()
    return held


def test_parts_are_shares_of_the_pairs_and_hold_each_once() -> None:
    held = ready()
    sizes = [len(held.rows[part]) for part in (TRAIN, DEV, TEST)]
    assert sizes == [864, 108, 108]
    assert sorted(np.concatenate([held.rows[part] for part in (TRAIN, DEV, TEST)])) == list(range(1080))


def test_a_papers_90_10_has_its_dev_within_the_training_part() -> None:
    tuned = ready(ratio=(0.81, 0.09, 0.1))
    assert [len(tuned.rows[part]) for part in (TRAIN, DEV, TEST)] == [875, 97, 108]
    last = ready(ratio=(0.81, 0.09, 0.1), refit=True)
    assert len(last.rows[TRAIN]) == 972
    assert np.array_equal(last.rows[TEST], tuned.rows[TEST])
    assert set(last.rows[TRAIN]) == set(tuned.rows[TRAIN]) | set(tuned.rows[DEV])


def test_the_split_is_its_seeds_alone() -> None:
    first, again, other = ready(seed=5), ready(seed=6), ready(split_seed=1)
    for part in (TRAIN, DEV, TEST):
        assert np.array_equal(first.rows[part], again.rows[part])
    assert not np.array_equal(first.rows[TEST], other.rows[TEST])
    by_chance = len(np.intersect1d(first.rows[TEST], other.rows[TEST]))
    assert by_chance < 30  # 11 of 108 are expected
    assert first.raw is not None
    assert other.raw is not None
    assert np.array_equal(first.raw.scores, other.raw.scores)


def test_moments_and_counts_are_those_of_training_pairs(tmp_path: Path) -> None:
    held = ready(source=str(relevance_file(tmp_path, LINES)))
    assert held.raw is not None
    rows = held.rows[TRAIN]
    scores = [float(LINES[row].rpartition(",")[2]) for row in rows]
    facts = held.facts()
    assert facts.moments == {"score": pytest.approx((np.mean(scores), np.std(scores)))}
    assert facts.provides == ("pairs",)
    assert facts.rows == {"user": 7, "item": 11}
    for vocab, column in (("user", 0), ("item", 1)):
        names = held.vocabularies()[vocab].ids.to_pylist()
        told = [names.index(LINES[row].split(",")[column]) for row in rows]
        assert facts.counts[vocab].tolist() == np.bincount(told, minlength=len(names)).tolist()
    assert facts.ids["user"] != facts.ids["item"]


def test_a_batch_is_pairs_with_scores_in_their_own_units(tmp_path: Path) -> None:
    held = ready(source=str(relevance_file(tmp_path, LINES)), eval_batch_size=3)
    seen = []
    for batch in held.test_dataloader():
        asked, related, rows = held.original(batch.cases)
        assert batch.scores.dtype == torch.float64
        for item, other, row, score in zip(asked.to_pylist(), related.to_pylist(), rows, batch.scores.tolist()):
            assert LINES[row] == f"{item},{other},{score:g}"
            seen.append(int(row))
    assert seen == held.rows[TEST].tolist()


def test_an_epoch_has_each_training_pair_once_in_another_order() -> None:
    held = ready()
    loader = held.train_dataloader()
    epochs = [[case for block in loader for part in block.batches() for case in part.cases.tolist()] for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1]) == held.rows[TRAIN].tolist()
    (first, *_) = loader
    assert [len(part.cases) for part in first.batches()] == [64, 64]


def test_what_is_told(tmp_path: Path) -> None:
    held = ready()
    assert held.raw is not None
    assert held.raw.truth is not None
    floor = float(np.sqrt(np.mean((held.raw.scores - held.raw.truth)[held.rows[TEST]] ** 2)))
    assert held.best_rmse() == pytest.approx(floor)
    told = held.told(frozenset())
    assert told.startswith("planted: 90 items and 90 related ones, 864 pairs to train on with scores ")
    assert told.endswith(f"; the truth itself has RMSE {floor:.4f} on test, the best to be expected")
    mine = ready(source=str(relevance_file(tmp_path, LINES)))
    assert mine.best_rmse() is None
    assert "truth" not in mine.told(frozenset())


def test_items_that_training_has_not_are_counted(tmp_path: Path) -> None:
    lines = [*LINES, *(f"new{n},b1,3" for n in range(20))]
    held = ready(source=str(relevance_file(tmp_path, lines)))
    test = [lines[row] for row in held.rows[TEST]]
    new = np.mean([line.startswith("new") for line in test])
    assert held.unseen(TEST) == {"item": pytest.approx(new), "related": 0.0}
    assert new > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 0}, "data.init_args.batch_size is 0; it must be at least 1"),
        ({"ratio": (1, 0, 0)}, "data.init_args.ratio is [1, 0, 0]; each share must be above 0"),
        (
            {"source": "ml-100k"},
            "data.init_args.source is 'ml-100k'; it must be planted, or a file that ends in .csv, ",
        ),
    ],
)
def test_wrong_options_are_refused(options: dict, said: str) -> None:
    with pytest.raises(UserError) as caught:
        relevance(**options)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([f"a,b{n},5" for n in range(20)], ": all 16 pairs of the train part have the score 5"),
        ([f"a,b{n},{1e300 * n}" for n in range(20)], "are too far apart, or too near"),
        (["a,b,1", "a,c,2"], ": the dev part is empty (2 rows, split=ratio)"),
    ],
)
def test_scores_that_teach_nothing_are_refused(tmp_path: Path, lines: list[str], said: str) -> None:
    path = relevance_file(tmp_path, lines)
    with pytest.raises(UserError) as caught:
        relevance(source=str(path)).setup()
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_the_planted_truth_is_that_of_both_sides() -> None:
    held = ready()
    assert held.truth("user").keys() == held.truth("item").keys() == {"leaf", "group"}
    assert len(held.truth("item")["leaf"]) == PLANTED.items
