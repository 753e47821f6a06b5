"""A small table of two models on the planted world, run whole, by halves and again."""

import csv
import json
import shlex
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import begun, ended, run
from filelock import FileLock
from small_table import TABLE, reproduce, table
from stub import wait_for

from lightning_vq.errors import UserError
from lightning_vq.reproduce.paper import Budget, Row, read_paper
from lightning_vq.reproduce.runs import RowRuns
from lightning_vq.runs import write_json


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("reproduce")
    reproduce(root, "--rows", "base", "--seeds", "1")
    assert table(root)[("Base", "N@10")]["verdict"] in ("within 3%", "above", "below")
    assert table(root)[("Quantized", "N@10")]["verdict"] == "not run"
    return root, run("reproduce", str(root / "small.yaml"), "--out", str(root / "out")).stdout


def test_every_row_has_its_runs_and_its_figures(whole: tuple[Path, str]) -> None:
    root, text = whole
    folder = root / "out/small/small"
    assert "Base: tuning" not in text  # the first call had tuned it and fitted seed 1
    assert "Base: seeds 2" in text
    assert "Quantized: tuning, 0 of 2 trials done" in text
    found = table(root)
    for slug, name in (("base", "Base"), ("quantized", "Quantized")):
        tuned = json.loads((folder / slug / "runs/sweeps/tune/summary.json").read_text())
        assert tuned["trials"]["complete"] == 2  # base model and quantized one alike
        runs = list((folder / slug).glob("runs/sweeps/seeds*/trials/*"))
        told = [json.loads((run / "metrics.json").read_text()) for run in runs if run.is_dir()]
        assert sorted(one["seed"] for one in told) == [1, 2]  # 0 is the tuning's
        best = yaml.safe_load((Path(tuned["best"][0]["folder"]) / "config.yaml").read_text())
        again = yaml.safe_load((runs[0] / "config.yaml").read_text())
        assert best["model"] == again["model"]
        values = [one["test"]["test/ndcg@10/full"] for one in told]
        assert float(found[(name, "N@10")]["mean"]) == pytest.approx(np.mean(values))
        assert float(found[(name, "N@10")]["spread"]) == pytest.approx(np.std(values, ddof=1))
        assert found[(name, "N@10")]["n"] == "2"


def test_what_did_not_run_is_no_pass(whole: tuple[Path, str]) -> None:
    found = table(whole[0])
    assert found[("Elsewhere", "N@10")]["verdict"] == "not at hand: ask its owner"
    assert found[("Absent", "N@10")]["verdict"] == "not at hand: python -m lightning_vq data download ml-1m"
    assert found[("Absent", "N@10")]["mean"] == ""
    assert found[("Fixed", "N@10")]["verdict"] == ""  # the paper has no such figure
    assert found[("Fixed", "N@10")]["n"] == "1"  # as it asks for


def test_a_refit_trains_on_validation_for_as_many_epochs(whole: tuple[Path, str]) -> None:
    folder = whole[0] / "out/small/small"
    tuned = json.loads((folder / "base/runs/sweeps/tune/summary.json").read_text())["best"][0]["folder"]
    best = json.loads((Path(tuned) / "metrics.json").read_text())
    runs = sorted((folder / "base--refitted").glob("runs/sweeps/seeds*/trials/*"))
    assert len(runs) == 2
    for fit in runs:
        told = json.loads((fit / "metrics.json").read_text())
        assert told["epochs"] == best["best"]["epoch"] + 1
        config = yaml.safe_load((fit / "config.yaml").read_text())
        assert config["data"]["init_args"]["refit"] is True
        assert (fit / "best.ckpt").is_file()


def test_files_and_a_second_call(whole: tuple[Path, str]) -> None:
    root, _ = whole
    folder = root / "out/small/small"
    markdown = (folder / "table.md").read_text()
    assert "| Quantized | Base | N@10 |" in markdown
    assert "| Quantized | Base | torso items |" in markdown
    assert "at most 2 tuning trials for each of 2 rows, base models and quantized ones alike" in markdown
    assert "- Fixed: nobody tuned it" in markdown
    assert (folder / "table.png").read_bytes().startswith(b"\x89PNG")
    assert "](table.png)" in markdown
    with (folder / "gains.csv").open() as file:
        told = {(row["row"], row["column"]): row for row in csv.DictReader(file)}
    of_base = table(root)[("Base", "N@10")]["mean"]
    assert told[("Quantized", "N@10")]["base_mean"] == of_base
    metrics = {column: told[("Quantized", column)]["metric"] for column in ("N@10", "seconds", "torso items")}
    assert metrics == {"N@10": "test/ndcg@10/full", "seconds": "test_seconds", "torso items": "test/ndcg@10/full"}
    assert told[("Quantized", "N@10")]["verdict"] in ("better", "worse", "not settled")
    text = reproduce(root)
    assert "tuning" not in text.partition("A small table")[0]
    assert "seeds" not in text.partition("A small table")[0]
    assert (folder / "table.md").read_text() == markdown


def test_a_table_goes_on_from_what_it_keeps(whole: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(whole[0] / "out", tmp_path / "out", ignore=shutil.ignore_patterns("runs"))
    before = table(whole[0])
    text = reproduce(tmp_path)
    assert "tuning" not in text.partition("A small table")[0]
    assert table(tmp_path) == before
    text = reproduce(tmp_path, "--rows", "base*", "--seeds", "3")
    assert "Base: seeds 3" in text
    assert "Base, refitted: seeds 3" in text
    assert "tuning" not in text.partition("A small table")[0]
    assert table(tmp_path)[("Base", "N@10")]["n"] == "3"


def test_results_of_other_settings_are_refused(whole: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(whole[0] / "out", tmp_path / "out", ignore=shutil.ignore_patterns("runs"))
    changed = {**TABLE, "rows": [{**TABLE["rows"][0], "fixed": {"model.init_args.weight_decay": 0.1}}]}
    text = reproduce(tmp_path, "--report", expect=2, table=changed)
    assert "settings.json is of other settings of 'Base' (fixed); move its folder away" in text


def test_a_file_that_has_changed_is_another_setting(tmp_path: Path) -> None:
    file, paper = tmp_path / "mine.csv", read_paper("cage/table7")[1]
    file.write_text("user,item\na,b\n")
    row = Row("Mine", source=str(file), base=["conf/bprmf.yaml"])
    runs = RowRuns(paper, row, Budget(), tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    write_json(tmp_path / "mine/settings.json", runs._settings())
    runs.check_settings()
    file.write_text("user,item\na,c\n")
    with pytest.raises(UserError, match=r"is of other settings of 'Mine' \(files\)"):
        runs.check_settings()
    file.unlink()  # of which nothing can be said: what has run is told all the same
    runs.check_settings()


def test_stages_that_are_gone_are_other_settings(tmp_path: Path) -> None:
    paper = read_paper("dqrec/table1")[1]
    [row] = [row for row in paper.rows if row.name == "DQRec"]
    folder = tmp_path / "row"
    folder.mkdir()
    write_json(folder / "settings.json", RowRuns(paper, row, Budget(), folder)._settings())
    RowRuns(paper, row, Budget(), folder).check_settings()
    with pytest.raises(UserError, match=r"other settings of 'DQRec' \(stages\)"):
        RowRuns(paper, replace(row, stages={}), Budget(), folder).check_settings()


def test_results_that_tell_less_are_read(whole: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(whole[0] / "out", tmp_path / "out", ignore=shutil.ignore_patterns("runs"))
    for path in (tmp_path / "out").rglob("results.json"):
        kept = json.loads(path.read_text())
        path.write_text(json.dumps({seed: {"metrics": one["metrics"], "groups": {}} for seed, one in kept.items()}))
    assert "Gains by group" not in reproduce(tmp_path, "--report")
    assert table(tmp_path)[("Base", "N@10")]["mean"] == table(whole[0])[("Base", "N@10")]["mean"]


def test_a_row_that_another_process_is_at_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "out/small/small/base/runs"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        text = reproduce(tmp_path, "--rows", "base*")
    assert "Base: another process is at it; passed over" in text
    assert "Base, refitted: another process is at it; passed over" in text  # whose tuning is that row's
    assert table(tmp_path)[("Base", "N@10")]["verdict"] == "not run"


def test_a_tuning_that_another_sweep_is_at_is_not_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paper, row = read_paper("cage/table3")[1], read_paper("cage/table3")[1].rows[0]
    runs = RowRuns(paper, row, paper.budgets["small"], tmp_path / "row")

    def swept(name: str, *_: object) -> None:
        runs._study(name).mkdir(parents=True)
        write_json(runs._study(name) / "summary.json", {"trials": {"complete": 4, "running": 1}, "best": []})

    monkeypatch.setattr(runs, "_sweep", swept)
    with pytest.raises(UserError, match=r"another sweep is at .*/tune; run this again when it has ended"):
        runs.run(3, 1, print)
    assert not runs.tuned


@pytest.mark.parametrize("runs", [True, False])
def test_groups_are_told_of_the_metric_that_they_are_of(runs: bool, whole: tuple[Path, str], tmp_path: Path) -> None:
    ignore = None if runs else shutil.ignore_patterns("runs")
    shutil.copytree(whole[0] / "out", tmp_path / "out", ignore=ignore)
    other = {**TABLE, "columns": {"HR@10": "test/hr@10/full", **TABLE["columns"]}}
    text = reproduce(tmp_path, "--report", table=other)
    assert ("Gains by group: HR@10" in text) == runs  # read anew; else nothing is known of them
    with (tmp_path / "out/small/small/gains.csv").open() as file:
        told = {row["column"]: float(row["base_mean"]) for row in csv.DictReader(file)}
    with (whole[0] / "out/small/small/gains.csv").open() as file:
        before = {row["column"]: float(row["base_mean"]) for row in csv.DictReader(file)}
    assert ("head users" in told) == runs
    assert not runs or told["head users"] > before["head users"]  # more hits than of ndcg
    assert told["N@10"] == before["N@10"]


def test_more_seeds_run_only_what_is_missing(whole: tuple[Path, str]) -> None:
    text = reproduce(whole[0], "--rows", "fixed", "--seeds", "3")
    assert "Fixed: seeds 2, 3\n" in text  # its own row asks for one alone
    assert table(whole[0])[("Fixed", "N@10")]["n"] == "3"
    assert table(whole[0])[("Base", "N@10")]["verdict"] == "2 of 3 seeds"


def test_kept_results_without_a_column_still_show_the_others(whole: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(whole[0] / "out", tmp_path / "out", ignore=shutil.ignore_patterns("runs"))
    before = table(whole[0])[("Quantized", "N@10")]["mean"]
    more = {**TABLE, "columns": {**TABLE["columns"], "N@20": "test/ndcg@20/full"}}
    text = reproduce(tmp_path, "--report", "--rows", "quantized", expect=2, table=more)
    assert "Quantized: column 'N@20': its runs will have no 'test/ndcg@20/full'; give model.init_args.ks" in text
    after = table(tmp_path)
    assert after[("Quantized", "N@20")]["verdict"] == "its runs have no test/ndcg@20/full"
    assert after[("Quantized", "N@10")]["mean"] == before


def test_rows_limit_what_is_shown_and_not_what_is_written(whole: tuple[Path, str]) -> None:
    text = reproduce(whole[0], "--report", "--rows", "fixed", "absent")
    shown = text.partition("budget small")[0]
    assert "Quantized" not in shown
    assert "Gains" not in shown
    assert "Fixed" in shown
    assert shown.count("not at hand") == 1  # of two columns
    assert ("Quantized", "N@10") in table(whole[0])
    assert table(whole[0])[("Absent", "seconds")]["verdict"].startswith("not at hand")


def test_a_stopped_table_tells_how_to_go_on(tmp_path: Path) -> None:
    path, out = tmp_path / "small table.yaml", tmp_path / "out"
    long = {"small": {"trials": 2, "fixed": {"trainer.max_epochs": 5000, "patience": None}}}
    path.write_text(yaml.safe_dump({**TABLE, "budgets": long}, sort_keys=False))
    arguments = ["-m", "lightning_vq", "reproduce", str(path), "--out", str(out), "--rows", "bas?"]
    with begun(*arguments) as process:
        wait_for(lambda: list(out.rglob("last.ckpt")))
        process.send_signal(signal.SIGINT)
        text = ended(process, 130)
    assert f"To go on: {shlex.join(['python', *arguments])}\n" in text
    assert "--resume" not in text
    assert text.count("To go on") == 1
