"""What has run under another name is not run again."""

import json
import shutil
from pathlib import Path

import numpy as np

from lightning_vq.chain_command import RECORD
from lightning_vq.reproduce.fits import TUNED
from lightning_vq.reproduce.gains import Gain, families, paired_seeds
from lightning_vq.reproduce.paper import Paper, read_paper
from lightning_vq.reproduce.results import Result
from lightning_vq.reproduce.runs import RowRuns
from lightning_vq.reproduce.same import runs_of, take_stages
from lightning_vq.runs import read_json, write_json
from lightning_vq.stages import Stage, stages_of


def row_runs(table: str, name: str, out: Path, of: str = "dqrec") -> RowRuns:
    _, paper = read_paper(f"{of}/{table}")
    row = next(row for row in paper.rows if row.name == name)
    return RowRuns(paper, row, paper.budgets["small"], out / of / table / "small" / row.slug)


def test_the_same_row_of_several_tables_is_run_once(tmp_path: Path) -> None:
    first, lines = row_runs("table1", "DQRec", tmp_path), list[str]()
    write_json(first.folder / "settings.json", first._settings())
    metrics = {"test": {"test/ndcg@5/batch1024": 0.25}, "state": "finished"}
    kept = {str(seed): Result(metrics, {})._asdict() for seed in (1, 2, 3, 4)}
    write_json(first.folder / "results.json", kept)
    for table, name, seeds in (("table3", "DQRec", 3), ("figure3", "K 30", 1), ("figure3", "L 4", 1)):
        again = row_runs(table, name, tmp_path)
        again.run(seeds, 1, lines.append)  # would train for an hour
        assert list(again.results()) == list(range(1, seeds + 1))
        assert again.results()[1].metrics == metrics
    assert lines[0] == f"DQRec: seeds 1, 2, 3 are those of {first.folder}"
    again.run(1, 1, lines.append)
    assert len(lines) == 3  # nothing is taken twice
    other = row_runs("table1", "DQRec, other stages", tmp_path)
    other.folder.mkdir()
    other._take(3, lines.append)
    assert not (other.folder / "results.json").exists()


def test_a_row_that_another_table_has_tuned_is_neither_tuned_nor_run_again(tmp_path: Path) -> None:
    first, again = (
        row_runs("table3", "Toys BPRMF", tmp_path, "cove"),
        row_runs("table3_equal", "BPRMF", tmp_path, "cove"),
    )
    write_json(first.folder / "settings.json", first._settings())
    write_json(first.folder / TUNED, {"epoch": 3})
    first.best.write_text("model: the best\n")
    result = Result({"test": {}, "state": "finished"}, {})._asdict()
    write_json(first.folder / "results.json", {str(seed): result for seed in range(1, 6)})
    lines = list[str]()
    again.run(5, 1, lines.append)  # would train for hours
    assert list(again.results()) == [1, 2, 3, 4, 5]
    assert again.best.read_text() == "model: the best\n"
    assert again.tuned_in() == str(tmp_path)  # as `--tuned` takes it
    (again.folder / "results.json").unlink()
    again.best.write_text("model: another\n")
    again._take(5, lines.append)  # each was tuned by itself
    assert not (again.folder / "results.json").exists()


def stage_folders(out: Path, options: list[str]) -> list[Stage]:
    return stages_of(Path("conf/dqrec"), options, out)[:-1]


def complete(stages: list[Stage], out: Path) -> None:
    for stage in stages:
        write_json(stage.folder / "metrics.json", {"state": "finished", "of": str(out)})
    write_json(out / RECORD, {stage.file.stem: stage.asked for stage in stages})


def test_stages_of_the_same_settings_are_run_once(tmp_path: Path) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    plain = stage_folders(a, [])
    complete(plain, a)
    codes = "--2.quantization.quantizers.user.init_args.codes=64"
    changed = stage_folders(b, [codes])
    assert take_stages(changed, b) == ["1_representations"]  # the second has other codes
    assert read_json(b / RECORD)["1_representations"] == changed[0].asked
    assert json.loads((b / "1_representations/metrics.json").read_text())["of"] == str(a)
    assert not (b / "2_patterns").exists()
    assert take_stages(changed, b) == []
    assert take_stages(stage_folders(c, ["--1.trainer.max_epochs=1"]), c) == []
    assert not c.exists()
    unfinished = tmp_path / "elsewhere" / "a"
    complete(stage_folders(unfinished, []), unfinished)
    write_json(unfinished / "1_representations/metrics.json", {"state": "running"})
    assert take_stages(stage_folders(unfinished.parent / "b", []), unfinished.parent / "b") == []


def test_seeds_whose_stages_were_made_anew_are_not_compared(tmp_path: Path) -> None:
    """A stage that two rows share must be one run; others, of other settings, may be what they are."""
    a, b = stage_folders(tmp_path / "a", []), stage_folders(tmp_path / "b", [])
    codes = stage_folders(tmp_path / "c", ["--2.quantization.quantizers.user.init_args.codes=64"])
    for stages, out in ((a, tmp_path / "a"), (b, tmp_path / "b"), (codes, tmp_path / "c")):
        complete(stages, out)
    shutil.copytree(tmp_path / "a" / "1_representations", tmp_path / "c" / "1_representations", dirs_exist_ok=True)
    made = {name: Result({}, {}, stages=runs_of(stages)) for name, stages in (("a", a), ("b", b), ("codes", codes))}
    assert [len(one.stages) for one in made.values()] == [2, 2, 2]
    assert made["a"].stages.keys() == made["b"].stages.keys() != made["codes"].stages.keys()
    base = dict.fromkeys((1, 2, 3), made["a"])
    assert paired_seeds({1: made["a"], 2: made["b"], 4: made["a"]}, base) == ([1], [2])
    assert paired_seeds({1: made["codes"], 3: Result({}, {})}, base) == ([1, 3], [])


def test_columns_chosen_beforehand_are_tested_alone() -> None:
    def gain(column: str, p: float) -> Gain:
        return Gain("b", "a", column, None, 0.1, 0.2, 0.1, 0.3, p, 3, ("better", "worse"))

    columns = {"R@5": "test/hr@5/full", "N@5": "test/ndcg@5/full"}
    found = [gain("R@5", 0.001), gain("N@5", 0.02), gain("tail users", 0.03)]
    every = families(Paper("t", columns, {}, {}, []), found)
    np.testing.assert_allclose(every[0].p_holm, [0.002, 0.02])
    chosen = families(Paper("t", columns, {}, {}, [], tested=["N@5"]), found)
    np.testing.assert_allclose(chosen[0].p_holm, [np.nan, 0.02])
    np.testing.assert_allclose(chosen[1].p_holm, [0.03])
