"""A small table of two models on the planted world, run whole, by halves and again; and every table that is shipped."""

import csv
import json
import math
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command import refused
from scipy import stats
from stub import wait_for

from lightning_vq.errors import UserError
from lightning_vq.reproduce.check import refusals
from lightning_vq.reproduce.paper import FOLDER, Paper, Row, read_paper
from lightning_vq.reproduce.results import Figure, paired_gain, words_of
from lightning_vq.reproduce.runs import RowRuns
from lightning_vq.sweep.command import trial_options
from lightning_vq.sweep.processes import rehearsed
from lightning_vq.sweep.settings import read_settings
from lightning_vq.sweep.space import read_space

LR = {"model.init_args.lr": {"low": 1e-3, "high": 1e-2, "log": True}}
SIZES = {f"quantization.quantizers.{v}.init_args.codebook_sizes": [12, 4] for v in ("user", "item")}
TABLE: dict[str, Any] = {
    "title": "A small table",
    "columns": {"N@10": "test/ndcg@10/full", "seconds": "test_seconds"},
    "budgets": {"small": {"trials": 2, "fixed": {"trainer.max_epochs": 2}}, "paper": {"trials": 9}},
    "seeds": 2,
    "sweep": {
        "objectives": {"val/ndcg@10/full": "maximize"},
        "fixed": {"data.init_args.planted": {"users": 150, "items": 90, "branching": [4, 3], "mean_length": 12}},
    },
    "rows": [
        {"name": "Base", "source": "planted", "base": ["conf/bprmf.yaml"], "space": LR, "paper": {"N@10": 0.1}},
        {"name": "Quantized", "source": "planted", "base": ["conf/cove_bprmf.yaml"], "fixed": SIZES, "space": LR,
         "over": "Base", "paper": {"N@10": 0.11}},
        {"name": "Base, refitted", "source": "planted", "refit_of": "Base"},
        {"name": "Fixed", "source": "planted", "base": ["conf/gmf.yaml"], "note": "nobody tuned it"},
        {"name": "Elsewhere", "get": "ask its owner", "paper": {"N@10": 0.5}},
        {"name": "Absent", "source": "ml-1m", "base": ["conf/bprmf.yaml"],
         "fixed": {"data.init_args.root": "nowhere"}},
    ],
}  # fmt: skip


def reproduce(root: Path, *options: str, expect: int = 0, table: dict[str, Any] = TABLE) -> str:
    (root / "small.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
    command = [sys.executable, "-m", "lightning_vq", "reproduce", str(root / "small.yaml"), "--out", str(root / "out")]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def table(root: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (root / "out/small/small/table.csv").open() as file:
        return {(row["row"], row["column"]): row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("reproduce")
    reproduce(root, "--rows", "base", "--seeds", "1")
    assert table(root)[("Base", "N@10")]["verdict"] in ("within 3%", "above", "below")
    assert table(root)[("Quantized", "N@10")]["verdict"] == "not run"
    return root, reproduce(root)


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


def test_a_refit_trains_on_validation_for_as_many_epochs(whole: tuple[Path, str]) -> None:
    folder = whole[0] / "out/small/small"
    tuned = json.loads((folder / "base/runs/sweeps/tune/summary.json").read_text())["best"][0]["folder"]
    best = json.loads((Path(tuned) / "metrics.json").read_text())
    runs = sorted((folder / "base--refitted").glob("runs/sweeps/seeds*/trials/*"))
    assert len(runs) == 2
    for run in runs:
        told = json.loads((run / "metrics.json").read_text())
        assert told["epochs"] == best["best"]["epoch"] + 1
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["data"]["init_args"]["refit"] is True
        assert (run / "best.ckpt").is_file()


def test_files_and_a_second_call(whole: tuple[Path, str]) -> None:
    root, _ = whole
    folder = root / "out/small/small"
    markdown = (folder / "table.md").read_text()
    assert "| Quantized | Base | N@10 |" in markdown
    assert "| Quantized | Base | torso items |" in markdown
    assert "2 tuning trials for each of 2 rows, base models and quantized ones alike" in markdown
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


def test_more_seeds_run_only_what_is_missing(whole: tuple[Path, str]) -> None:
    text = reproduce(whole[0], "--rows", "fixed", "--seeds", "3")
    assert "Fixed: seeds 3\n" in text
    assert table(whole[0])[("Fixed", "N@10")]["n"] == "3"
    assert table(whole[0])[("Base", "N@10")]["verdict"] == "2 of 3 seeds"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rows", "quantised"), "--rows 'quantised' matches no row"),
        (("--budget", "papr"), "did you mean 'paper'?"),
        (("--seeds", "0"), "--seeds is 0; it must be at least 1"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(TABLE))
    command = ["reproduce", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out"), *options]
    assert message in refused(monkeypatch, capfd, *command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": None}, "title"),
        ({"columms": {"a": "b"}}, "unknown key 'columms'; did you mean 'columns'?"),
        ({"rows": [{"name": "a", "get": "x"}, {"name": "A", "get": "x"}]}, "two have one name"),
        ({"rows": [{"name": "a", "get": "x", "over": "b"}]}, "over 'b' is no earlier row"),
        ({"rows": [{"name": "a", "get": "x", "paper": {"N@1": 0.1}}]}, "'N@1' is no column; did you mean 'N@10'?"),
        ({"rows": [{"name": "a", "gett": "x"}]}, "rows[0]: unknown key 'gett'; did you mean 'get'?"),
        ({"rows": [{"name": "a"}]}, "needs either source, or get"),
        ({"rows": [{"name": "a", "source": "planted", "refit_of": "b"}]}, "refit_of 'b' is no earlier row"),
        ({"rows": [TABLE["rows"][0], {**TABLE["rows"][2], "base": ["x"]}]}, "its base and fixed are those of 'Base'"),
        ({"rows": [{"name": "a", "source": "planted"}]}, "needs base, or refit_of"),
        ({"columns": {"x": "ndcg@10"}}, "column 'x': 'ndcg@10' is neither test/METRIC@K/PROTOCOL nor one of"),
        ({"budgets": {}}, "needs at least one budget"),
        ({"sweep": {}}, "one of sweep's objectives"),
    ],
)
def test_a_table_that_cannot_be(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({**TABLE, **change}))
    with pytest.raises(UserError) as error:
        read_paper(str(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_verdicts() -> None:
    def verdict(
        values: list[float], paper: float | None = 1.0, tolerance: float | None = 0.03, status: str = ""
    ) -> str:
        return Figure("row", "column", paper, values, 2, tolerance, status).verdict

    assert verdict([1.0, 1.05]) == "within 3%"
    assert verdict([1.1, 1.2]) == "above"
    assert verdict([0.9, 0.9]) == "below"
    assert verdict([1.0]) == "1 of 2 seeds"
    assert verdict([1.0, 1.0], tolerance=None) == "not comparable"
    assert verdict([1.0, 1.0], paper=None) == ""
    assert verdict([], status="not run") == "not run"


def test_gains_against_scipy() -> None:
    base, values = [0.20, 0.22, 0.21], [0.23, 0.24, 0.25]
    gain = paired_gain(("b", "a", "x"), 0.1, base, values)
    test = stats.ttest_rel(values, base)
    interval = test.confidence_interval()
    assert gain.p == pytest.approx(test.pvalue)
    assert (gain.low, gain.high) == pytest.approx((interval.low / 0.21, interval.high / 0.21))
    assert gain.verdict(holm=0.04) == "better"
    assert gain.verdict(holm=0.06) == "not settled"
    assert paired_gain(("b", "a", "x"), None, values, base).verdict(0.04) == "worse"
    seconds = paired_gain(("b", "a", "x"), None, [14.0, 14.1], [15.0, 15.2], words_of("test_seconds"))
    assert seconds.verdict(0.04) == "more"  # and not better
    loss = paired_gain(("b", "a", "x"), None, [0.57, 0.58], [0.60, 0.62], words_of("test/logloss"))
    assert loss.verdict(0.04) == "worse"
    assert paired_gain(("b", "a", "x"), None, [0.2], [0.3]).verdict(math.nan) == "one seed"
    assert math.isnan(paired_gain(("b", "a", "x"), None, [0.0, 0.0], [0.1, 0.1]).gain)
    assert math.isnan(paired_gain(("b", "a", "x"), None, [0.1] * 3, [0.2] * 3).p)  # no spread to test with


def test_a_row_that_its_data_refuses_stops_no_other(tmp_path: Path) -> None:
    bad = {**TABLE["rows"][3], "name": "Bad", "fixed": {"data.init_args.min_user": 9999}}
    text = reproduce(tmp_path, "--seeds", "1", expect=2, table={**TABLE, "rows": [bad, TABLE["rows"][3]]})
    assert "error: 1 of 2 rows could not run: Bad" in text
    assert table(tmp_path)[("Bad", "N@10")]["verdict"].startswith("failed: planted: no interaction is left")
    assert table(tmp_path)[("Fixed", "N@10")]["n"] == "1"


def test_all_that_is_wrong_with_a_table_is_told_before_anything_trains(tmp_path: Path) -> None:
    good, wide = TABLE["rows"][3], {"model.init_args.ks": [10, 20]}
    rows = [
        {**good, "fixed": wide},
        {**good, "name": "File", "base": ["conf/gmff.yaml"]},
        {**good, "name": "Key", "fixed": {**wide, "model.init_args.lrr": 1}},
        {**good, "name": "Space", "fixed": wide, "space": {"model.init_args.lr": {"low": -1.0, "high": 1.0}}},
        {**good, "name": "Both", "fixed": {**wide, "model.init_args.lr": 0.1}, "space": LR},
        {"name": "Refit", "source": "planted", "refit_of": "Both"},
        {**good, "name": "Column"},
        {**good, "name": "Protocol", "fixed": {**wide, "data.init_args.eval_protocols": ["sampled"]}},
        {**TABLE["rows"][5], "name": "Far", "base": ["conf/absent.yaml"]},  # nor is its data at hand
        {
            **TABLE["rows"][5],
            "name": "Far, of clicks",
            "source": "mind-small",
            "base": ["conf/dcn.yaml"],
        },  # not fetched
    ]
    told = {**TABLE, "rows": rows, "columns": {"N@10": "test/ndcg@10/full", "C@20": "test/coverage@20/full"}}
    why = {
        "File": "there is no config conf/gmff.yaml",
        "Key": "unknown key 'lrr'; did you mean 'lr'?",
        "Space": "lr is -1.0",
        "Both": "space: 'model.init_args.lr' and fixed both set model.init_args.lr",
        "Refit": "space: 'model.init_args.lr' and fixed both set model.init_args.lr",
        "Column": "column 'C@20': its runs will have no 'test/coverage@20/full'; give model.init_args.ks in its fixed",
        "Protocol": "column 'N@10': its runs will have no 'test/ndcg@10/full'; give data.init_args.eval_protocols",
        "Far": "there is no config conf/absent.yaml",
    }
    for options in ((), ("--report",)):
        text = reproduce(tmp_path, *options, expect=2, table=told)
        for name, part in why.items():
            (line,) = [line for line in text.splitlines() if line.startswith(f"{name}: ")]
            assert part in line
        assert f"error: 8 of 10 rows cannot run, and nothing was trained: {', '.join(why)}" in text
        assert table(tmp_path)[("Fixed", "N@10")]["verdict"] == "not run"
        assert table(tmp_path)[("Far, of clicks", "N@10")]["verdict"].startswith("not at hand")
        assert table(tmp_path)[("Key", "N@10")]["verdict"].startswith("failed: ")
    assert not list(tmp_path.rglob("runs"))


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
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: list(out.rglob("last.ckpt")))
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"To go on: {shlex.join(['python', *arguments])}\n" in text
    assert "--resume" not in text
    assert text.count("To go on") == 1


def test_where_data_would_come_from(tmp_path: Path) -> None:
    def get(source: str) -> str | None:
        return Row("a", source, base=["x"]).at_hand(str(tmp_path))

    assert get("planted") is None
    assert get("ml-1m") == "python -m lightning_vq data download ml-1m"
    assert "data download" not in str(get("amazon-toys"))  # has no address
    assert get(str(tmp_path / "plays.csv")) == f"put it at {tmp_path / 'plays.csv'}"
    assert get(str(tmp_path)) is None
    (tmp_path / "ml-1m").mkdir()
    assert get("ml-1m") is None


SHIPPED = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_table_can_be_trained(name: str, tmp_path: Path) -> None:
    """Each kind of a table's fits passes what a sweep checks before its first trial, on the planted data.

    Where a row's own columns are told in a file of conf/data, on its own data, if that is at hand.
    """
    _, paper = read_paper(name)
    seen = set()
    for row in paper.rows:
        what = (*row.base, *row.fixed, *row.space)  # rows that differ in values alone are of one kind
        own = any(base.startswith("conf/data/") for base in row.base)
        if row.source is None or row.refit_of is not None or what in seen or (own and row.at_hand(paper.root(row))):
            continue
        seen.add(what)
        settings = sweep_file(paper, row, tmp_path)
        lowest = [
            option
            for parameter in read_space(settings.space)
            for option in parameter.options(parameter.drawn.edges()[0])
        ]
        assert rehearsed([*trial_options(settings), *lowest], []).epochs > 0


def test_the_documented_table_can_be_trained(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", Path("docs/reproduce.md").read_text(), flags=re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    _, paper = read_paper(str(tmp_path / "mine.yaml"))
    rows: list[RowRuns] = []
    for row in paper.rows:
        tuning = next((one for one in rows if one.row.name == row.refit_of), None)
        rows.append(RowRuns(paper, row, paper.budgets["small"], tmp_path / row.slug, tuning))
    assert refusals(paper, rows) == {}


def sweep_file(paper: Paper, row: Row, folder: Path) -> Any:
    """Return the settings that a row's tuning would have, on the planted data."""
    runs = RowRuns(paper, row, next(iter(paper.budgets.values())), folder)
    fixed = runs._fixed()
    if not any(base.startswith("conf/data/") for base in row.base):
        fixed |= {"data.init_args.source": "planted", "data.init_args.planted": {"items": 1500}}
    what = {"base": row.base, "fixed": fixed, "root": str(folder)}
    path = folder / "row.yaml"
    path.write_text(yaml.safe_dump({**paper.sweep, **what, "space": row.space or LR}))
    return read_settings(["--config", str(path)])[0]
