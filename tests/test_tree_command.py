"""The verb `tree` on small runs that were really trained."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import SMALL, done

from lightning_vq import tree_command
from lightning_vq.errors import UserError
from lightning_vq.sources.planted import PlantedOptions, planted_interactions


def fit(root: Path, *options: str, small: list[str] = SMALL) -> str:
    less = [*small, "--trainer.max_epochs=2", f"--trainer.default_root_dir={root}"]
    return done("fit", "--config", "conf/cove_bprmf.yaml", *less, *options)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Return two runs of different seeds, the first with its plain base model, and what the first printed."""
    root = tmp_path_factory.mktemp("runs")
    said = fit(root)
    fit(root, "--seed_everything=1", "--baseline=false")
    return root / "runs" / "cove_bprmf" / "1", root / "runs" / "cove_bprmf" / "2", said


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_fit_and_the_verb_write_the_same(runs: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    run, _, said = runs
    assert f"Learned tree, for a browser: {run / 'tree' / 'item.html'}" in said
    before = contents(run / "tree")
    assert sorted(before) == [
        "item.html", "item.json", "item.parquet", "item_agreement.json", "item_coverage.png",
        "user.html", "user.json", "user.parquet",
    ]  # fmt: skip
    shutil.rmtree(run / "tree")
    tree_command.main(["--run", str(run)])
    assert contents(run / "tree") == before
    printed = capsys.readouterr().out
    for name in before:
        assert str(run / "tree" / name) in printed
    assert not (run / "baseline" / "tree").exists()


def test_the_table_is_the_file(runs: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    run, _, _ = runs
    tree_command.main(["--run", str(run)])
    printed = capsys.readouterr().out
    told = json.loads((run / "tree" / "item_agreement.json").read_text())
    assert told["items"] == 90
    assert len(told["levels"]) == 2
    for level, one in enumerate(told["levels"], start=1):
        purity = one["purity"]
        assert purity["low"] <= purity["null"] <= purity["high"]
        (line,) = [text for text in printed.splitlines() if f"level {level} ({one['codes']} codes): purity" in text]
        assert f"{purity['value']:.3f}" in line
        assert f"{purity['null']:.3f} [{purity['low']:.3f}, {purity['high']:.3f}]" in line


def test_agreement_is_that_of_the_written_codes(runs: tuple[Path, Path, str]) -> None:
    """Purity again, item by item, from the files alone and the truth of the planted world."""
    run, _, _ = runs
    raw = planted_interactions(PlantedOptions(users=150, items=90, branching=(4, 3), mean_length=12))
    group = dict(zip(raw.item_ids.to_pylist(), raw.item_categories["group"].tolist()))
    rows = pq.read_table(run / "tree" / "item.parquet").to_pylist()
    told = json.loads((run / "tree" / "item_agreement.json").read_text())
    for level in (1, 2):
        held: dict[int, list[int]] = {}
        for row in rows:
            held.setdefault(row[f"level{level}"], []).append(group[row["id"]])
        pure = sum(max(groups.count(g) for g in set(groups)) for groups in held.values()) / len(rows)
        assert told["levels"][level - 1]["codes"] == len(held)
        assert told["levels"][level - 1]["purity"]["value"] == pytest.approx(pure)


def test_parquet_is_small_and_whole(runs: tuple[Path, Path, str]) -> None:
    run, _, _ = runs
    for table, rows in (("item", 90), ("user", 150)):
        tree = pq.read_table(run / "tree" / f"{table}.parquet")
        vocabulary = pq.read_table(run / "vocab" / f"{table}.parquet")
        assert tree["id"].to_pylist() == vocabulary["id"].to_pylist()
        assert len(tree) == rows
        assert [tree.schema.field(name).type for name in ("level1", "level2")] == [pa.uint8(), pa.uint8()]
        assert tree["level1"].to_numpy().max() < 12


def test_vocabularies_carry_counts_and_metadata(runs: tuple[Path, Path, str]) -> None:
    run, _, _ = runs
    item, user = (pq.read_table(run / "vocab" / f"{name}.parquet") for name in ("item", "user"))
    assert user.column_names == ["id", "row", "count"]
    assert item.column_names == ["id", "row", "count", "title", "categories"]
    assert item.schema.field("categories").type == pa.list_(pa.string())
    raw = planted_interactions(PlantedOptions(users=150, items=90, branching=(4, 3), mean_length=12))
    assert item["count"].to_numpy().sum() == user["count"].to_numpy().sum() == len(raw.users) - 2 * 150
    assert np.array_equal(user["count"].to_numpy(), np.bincount(raw.users) - 2)  # one held out for dev, one for test


def test_against_another_run(runs: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    run, other, _ = runs
    tree_command.main(["--run", str(run), "--against", str(run)])
    same = [line for line in capsys.readouterr().out.splitlines() if "item level" in line or "user level" in line]
    assert len(same) == 4
    assert all("1.000" in line for line in same)
    tree_command.main(["--run", str(run), "--against", str(other)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "item level" in line]
    assert len(lines) == 2
    assert all(" 90 " in line and "1.000" not in line for line in lines)


def test_stability_goes_by_original_ids(
    runs: tuple[Path, Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the entities under other names: the rest still agree with themselves; all of them: nothing is shared."""
    run, _, _ = runs
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    for share, expected in ((2, 45), (1, 0)):
        path = copy / "vocab" / "item.parquet"
        table = pq.read_table(path)
        ids = [f"other {i}" if row % share == 0 else i for row, i in enumerate(table["id"].to_pylist())]
        pq.write_table(table.set_column(0, "id", pa.array(ids)), path)
        if not expected:
            with pytest.raises(UserError, match="have no item in common"):
                tree_command.main(["--run", str(run), "--against", str(copy)])
            continue
        tree_command.main(["--run", str(run), "--against", str(copy)])
        lines = [line for line in capsys.readouterr().out.splitlines() if "item level" in line]
        assert all("1.000" in line and f" {expected} " in line for line in lines)


def test_what_is_no_run_of_this_version_is_refused(runs: tuple[Path, Path, str], tmp_path: Path) -> None:
    run, _, _ = runs
    with pytest.raises(UserError, match=r"is not a run folder: it has no config\.yaml"):
        tree_command.main(["--run", str(tmp_path)])
    with pytest.raises(UserError, match="without quantizers"):
        tree_command.main(["--run", str(run / "baseline")])
    with pytest.raises(UserError, match="required: --run"):
        tree_command.main([])
    old = tmp_path / "old"
    shutil.copytree(run, old)
    shutil.rmtree(old / "tree")
    path = old / "vocab" / "item.parquet"
    whole = pq.read_table(path)
    pq.write_table(whole.select(["id", "row"]), path)
    with pytest.raises(UserError, match="has no counts: another version"):
        tree_command.main(["--run", str(old)])
    pq.write_table(whole.slice(1), path)
    with pytest.raises(UserError, match="89 rows, the model 90"):
        tree_command.main(["--run", str(old)])
    path.unlink()
    with pytest.raises(UserError, match=r"it has no vocab/item\.parquet"):
        tree_command.main(["--run", str(old)])
    assert not (old / "tree").exists()  # refused before anything is written


def test_codes_that_are_no_tree(tmp_path: Path) -> None:
    residual = "{item: {class_path: lightning_vq.quantizers.Residual, init_args: {codebook_sizes: [12, 12]}}}"
    said = fit(tmp_path, f"--quantization.quantizers={residual}", "--baseline=false", small=SMALL[:1] + SMALL[3:])
    run = tmp_path / "runs" / "cove_bprmf" / "1"
    assert "Learned tree" not in said
    assert [path.name for path in (run / "tree").iterdir()] == ["item.parquet"]
    with pytest.raises(UserError, match=r"has no tree: .* its quantizers are Residual"):
        tree_command.main(["--run", str(run)])


def test_errors_reach_the_terminal_as_one_line(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "lightning_vq", "tree", "--run", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert told.returncode == 2
    assert told.stderr.startswith("error: ")
    assert len(told.stderr.splitlines()) == 1


def test_without_categories_it_is_said_where_some_may_be_told(tmp_path: Path) -> None:
    rows = [f"u{user},i{(user * at + at * at) % 40},{at}" for user in range(60) for at in range(1, 9)]
    (tmp_path / "mine.csv").write_text("\n".join(["user,item,timestamp", *dict.fromkeys(rows), ""]))
    own = [f"--data.init_args.source={tmp_path}/mine.csv", "--data.init_args.duplicates=last"]
    fit(tmp_path, *own, "--baseline=false", small=SMALL[1:])
    run = tmp_path / "runs" / "cove_bprmf" / "1"
    assert "No categories are known, which codes could agree with" in done("tree", "--run", str(run))
    (tmp_path / "items.csv").write_text("".join(["item,category\n", *(f"i{i},c{i % 3}\n" for i in range(40))]))
    fit(tmp_path, *own, f"--data.init_args.item_file={tmp_path}/items.csv", "--baseline=false", small=SMALL[1:])
    told = done("tree", "--run", str(run.with_name("2")))
    assert "item codes and real categories" in told
    assert "No categories" not in told


def test_a_run_has_no_fewer_epochs_than_are_done(runs: tuple[Path, Path, str]) -> None:
    told = done("fit", "--run", str(runs[1]), "--trainer.max_epochs=0", expect=2)
    assert "error: trainer.max_epochs is 0, and the checkpoint is at epoch 1: give more\n" in told
