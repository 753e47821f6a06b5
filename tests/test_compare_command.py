"""The verb `compare` on small runs that were really trained, and on copies of them that were spoilt."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import SMALL, done, run

from lightning_vq import compare_command
from lightning_vq.errors import UserError
from lightning_vq.groups import GROUPS, frequency_groups


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the quantized run and its plain base model."""
    root = tmp_path_factory.mktemp("runs")
    options = [*SMALL, "--trainer.max_epochs=3", f"--trainer.default_root_dir={root}"]
    done("fit", "--config", "conf/cove_lgcn.yaml", *options)
    folder = root / "runs" / "cove_lgcn" / "1"
    return folder, folder / "baseline"


@pytest.fixture
def copy(runs: tuple[Path, Path], tmp_path: Path) -> Path:
    """Return a copy of the quantized run, to be spoilt."""
    folder = tmp_path / "runs" / "copy" / "1"
    shutil.copytree(runs[0], folder, ignore=shutil.ignore_patterns("*.ckpt", "tree", "figures", "baseline"))
    return folder


def compared(out: Path, *arguments: Path | str) -> list[dict[str, str]]:
    compare_command.main([*map(str, arguments), "--out", str(out)])
    with (out / "comparison.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def change(path: Path, keep: slice = slice(None), **columns: list) -> None:
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    pq.write_table(table.slice(0, keep.stop), path)


def test_every_figure_is_that_of_the_files(runs: tuple[Path, Path], tmp_path: Path) -> None:
    quantized, base = runs
    rows = compared(tmp_path / "out", base, quantized)
    whole = {row["metric"]: row for row in rows if row["of"] == "all"}
    for folder, column in ((base, "base"), (quantized, "other")):
        told = json.loads((folder / "metrics.json").read_text())["test"]
        assert {f"test/{name}" for name in whole} == {name for name in told if "/hr@" in name or "/ndcg@" in name}
        for name, row in whole.items():
            assert float(row[column]) == pytest.approx(told[f"test/{name}"], abs=1e-6)
            assert row["n"] == "150"
    items = pq.read_table(quantized / "vocab" / "item.parquet")
    group = dict(zip(items["id"].to_pylist(), frequency_groups(items["count"].to_numpy())))
    cases = pq.read_table(quantized / "test_cases.parquet").to_pylist()
    for row in rows:
        assert float(row["difference"]) == pytest.approx(float(row["other"]) - float(row["base"]))
        assert float(row["p"]) <= float(row["holm"]) <= 1
        if row["of"] == "items":
            ranks = [case["rank/full"] for case in cases if GROUPS[group[case["item"]]] == row["group"]]
            assert int(row["n"]) == len(ranks)
            assert float(row["other"]) == pytest.approx(np.mean([1 / np.log2(r + 1) if r <= 10 else 0 for r in ranks]))
    for of in ("users", "items"):
        assert sum(int(row["n"]) for row in rows if row["of"] == of) == 150


def test_the_command_line(runs: tuple[Path, Path], tmp_path: Path) -> None:
    quantized, base = runs
    told = run("compare", str(base), str(quantized), "--metric=hr@5/uni99", f"--out={tmp_path / 'out'}").stdout
    for words in ("A = cove_lgcn/1/baseline, B = cove_lgcn/1", "hr@5/uni99 by group", "One seed each", "p Holm"):
        assert words in told
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "| ndcg@10/full |" in text
    sentence = next(line for line in told.splitlines() if line.startswith("cove_lgcn/1 "))
    assert sentence in text
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.csv", "comparison.md", "comparison.png",
    ]  # fmt: skip
    refused = run("compare", str(base), str(tmp_path), expect=2)
    assert refused.stderr == f"error: {tmp_path} is not a run folder: it has no config.yaml\n"


def test_a_copy_in_another_order_does_not_differ(runs: tuple[Path, Path], copy: Path, tmp_path: Path) -> None:
    for name in ("test_users", "test_cases"):
        table = pq.read_table(copy / f"{name}.parquet")
        pq.write_table(table.take(pa.array(np.random.default_rng(0).permutation(len(table)))), copy / f"{name}.parquet")
    rows = compared(tmp_path / "out", runs[0], copy, runs[1])
    assert len({row["run"] for row in rows}) == 2
    same = [row for row in rows if row["run"].endswith("copy/1")]
    assert {(row["difference"], row["p"], row["holm"]) for row in same} == {("0.0", "1.0", "1.0")}
    assert "no difference survives" in (tmp_path / "out" / "comparison.md").read_text()


def test_a_better_run_is_called_better(runs: tuple[Path, Path], copy: Path, tmp_path: Path) -> None:
    path = copy / "test_users.parquet"
    change(path, **{"hr@10/full": [1.0] * 150})
    rows = compared(tmp_path / "out", runs[0], copy)
    (row,) = [row for row in rows if row["metric"] == "hr@10/full" and row["of"] == "all"]
    assert float(row["low"]) > 0
    assert float(row["holm"]) == pytest.approx(8 / 10_001)  # the least p, of 8 comparisons
    assert "better than" in (tmp_path / "out" / "comparison.md").read_text()
    assert "on 1 of 8 metrics after correction, worse on none." in (tmp_path / "out" / "comparison.md").read_text()


def test_users_may_have_several_cases(runs: tuple[Path, Path], copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "runs" / "other" / "1"
    shutil.copytree(copy, other)
    for folder, rank in ((copy, 1), (other, 50)):
        table = pq.read_table(folder / "test_cases.parquet")
        items = pq.read_table(folder / "vocab" / "item.parquet")
        item = items["id"][int(np.argmax(items["count"].to_numpy()))].as_py()
        more = {"user": table["user"][3].as_py(), "item": item, "rank/full": rank, "rank/uni99": rank}
        whole = pa.concat_tables([pa.Table.from_pylist([more], table.schema), table])
        pq.write_table(whole, folder / "test_cases.parquet")
    rows = [row for row in compared(tmp_path / "out", copy, other) if row["of"] == "items"]
    assert sum(int(row["n"]) for row in rows) == 151
    assert [row["group"] for row in rows if float(row["difference"]) < 0] == ["head"]
    assert {float(row["p"]) for row in rows} == {1.0}  # one user differs: either sign is as far


def refusal(*arguments: Path | str) -> str:
    with pytest.raises(UserError) as told:
        compare_command.main([str(argument) for argument in arguments])
    assert "\n" not in str(told.value)
    return str(told.value)


def test_what_cannot_be_paired_is_refused(runs: tuple[Path, Path], copy: Path) -> None:
    quantized, _ = runs
    users, cases = copy / "test_users.parquet", copy / "test_cases.parquet"
    names, items = (pq.read_table(cases)[name].to_pylist() for name in ("user", "item"))
    change(cases, item=[items[0], "another", *items[2:]])
    assert (
        f"1 of the 150 held-out interactions of {quantized} are not in {copy}, user {names[1]!r} with item"
        in refusal(quantized, copy)
    )
    change(cases, user=["nobody", *names[1:]])
    assert "test_users.parquet has not one row for each user of test_cases.parquet" in refusal(quantized, copy)
    change(users, user=["nobody", *names[1:]])
    assert f"1 of the 150 test users of {quantized} are not in {copy}, user {names[0]!r} for one" in refusal(
        quantized, copy
    )
    for path in (users, cases):
        change(path, slice(100))
    assert "51 of the 150 test users" in refusal(quantized, copy)
    assert "1 of the 100 test users of" in refusal(copy, quantized)


def test_runs_that_are_not_whole_are_refused(runs: tuple[Path, Path], copy: Path, tmp_path: Path) -> None:
    quantized, base = runs
    assert f"two runs or more, as: compare {base} {quantized}" in refusal(quantized)
    assert f"two runs or more, as: compare {base} OTHER_RUN" in refusal(base)
    assert "is named twice" in refusal(quantized, base, quantized / "baseline" / "..")
    assert "required: RUN" in refusal()
    assert "--metric=ndgc@10/full is not a test metric of all these runs; did you mean 'ndcg@10/full'?" in refusal(
        quantized, base, "--metric=ndgc@10/full"
    )
    (tmp_path / "file").touch()
    assert "is a file" in refusal(quantized, base, f"--out={tmp_path / 'file'}")
    told = json.loads((copy / "metrics.json").read_text())
    change_monitor = {**told, "monitor": "val/ndcg@20/full"}
    (copy / "metrics.json").write_text(json.dumps(change_monitor))
    assert "--metric=ndcg@20/full is not a test metric" in refusal(copy, base)
    (copy / "metrics.json").write_text(json.dumps({**told, "state": "stopped"}))
    assert f"has not finished (its state is 'stopped'); to go on with it: python -m lightning_vq fit --run {copy}" in (
        refusal(quantized, copy)
    )
    (copy / "metrics.json").unlink()
    assert "has not finished" in refusal(quantized, copy)
    (copy / "metrics.json").write_text(json.dumps(told))
    table = pq.read_table(copy / "test_users.parquet")
    pq.write_table(
        table.rename_columns([name.replace("@", "@1") for name in table.column_names]), copy / "test_users.parquet"
    )
    assert "have no metric in common" in refusal(quantized, copy)
    (copy / "test_cases.parquet").unlink()
    assert "has no test_cases.parquet: another version of lightning_vq tested it; both are written by: " in (
        refusal(quantized, copy)
    )


def test_a_test_of_an_older_version_is_made_anew_by_the_verb_test(runs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "old" / "1"
    shutil.copytree(runs[1], folder)
    (folder / "test_cases.parquet").unlink()
    command = refusal(runs[1], folder).partition("python -m lightning_vq ")[2].split()
    done(*command, "--trainer.enable_progress_bar=false")
    rows = compared(tmp_path / "out", runs[1], folder)
    assert {row["difference"] for row in rows} == {"0.0"}


def test_no_torch_is_imported() -> None:
    code = "import sys, lightning_vq.compare_command; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
