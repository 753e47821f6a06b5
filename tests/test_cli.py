"""The command line as a user meets it: real processes, exit statuses, files that are left behind."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import SMALL, done, refused, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("first")
    options = [*SMALL, "--trainer.max_epochs=3", f"--trainer.default_root_dir={root}"]
    return root / "runs" / "cove_lgcn" / "1", run("fit", "--config", "conf/cove_lgcn.yaml", *options).stdout


def test_the_table_shows_base_and_quantized(finished: tuple[Path, str]) -> None:
    folder, text = finished
    for words in ("base", "quantized", "test/hr@5/full", "test/ndcg@10/uni99", "samples/s", "codes used", "AMI"):
        assert words in text
    assert f"Run folder: {folder}" in text
    assert f"Next: python -m lightning_vq predict --run {folder}" in text


def test_the_run_folder_is_complete(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    for one in (folder, folder / "baseline"):
        written = ("config.yaml", "metrics.json", "metrics.csv", "best.ckpt", "last.ckpt")
        for name in (*written, "test_cases.parquet", "test_users.parquet"):
            assert (one / name).stat().st_size > 0
    summary = json.loads((folder / "metrics.json").read_text())
    assert summary["state"] == "finished"
    assert summary["epochs"] == 3 == len((folder / "metrics.csv").read_text().splitlines()) - 1
    assert {"test/ndcg@10/full", "test/hr@10/uni99"} <= set(summary["test"])
    assert {"level1/leaf", "level2/group"} == set(summary["recovery"]["item"])
    users = pq.read_table(folder / "test_users.parquet")
    assert np.mean(users["ndcg@10/full"].to_numpy()) == pytest.approx(summary["test"]["test/ndcg@10/full"], abs=1e-6)
    assert users["user"][0].as_py().startswith("u")
    cases = pq.read_table(folder / "test_cases.parquet")
    assert cases.column_names == ["user", "item", "rank/full", "rank/uni99"]
    assert cases["user"].equals(users["user"])  # leave-one-out: one held-out item a user
    assert np.array_equal(users["hr@5/full"].to_numpy(), cases["rank/full"].to_numpy() <= 5)
    for name in ("losses", "ranking", "usage"):
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in folder.rglob(".*")] == []  # nothing half written


def test_the_tree_files_agree(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    table = pq.read_table(folder / "tree" / "item.parquet").to_pylist()
    assert len(table) == len(pq.read_table(folder / "vocab" / "item.parquet"))
    paths = {row["id"]: (row["level1"], row["level2"]) for row in table}
    tree = json.loads((folder / "tree" / "item.json").read_text())
    nested = {
        entity: (leaf["code"], top["code"])
        for top in tree["children"] for leaf in top["children"] for entity in leaf["entities"]
    }  # fmt: skip
    assert nested == paths


def test_test_and_validate_from_the_folder_alone_repeat_the_figures(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    summary = json.loads((folder / "metrics.json").read_text())
    done("test", "--run", str(folder))
    assert json.loads((folder / "test.json").read_text()) == pytest.approx(summary["test"], abs=1e-7)
    done("validate", "--run", str(folder))
    validated = json.loads((folder / "validate.json").read_text())
    assert validated == pytest.approx({k: summary["best"][k] for k in validated}, abs=1e-7)


def test_predict_writes_original_ids_and_nothing_seen(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    done("predict", "--run", str(folder), "--model.init_args.top_k=7")
    lists = pq.read_table(folder / "recommendations.parquet").to_pylist()
    assert len(lists) == 150 * 7
    by_user: dict[str, list[dict]] = {}
    for row in lists:
        by_user.setdefault(row["user"], []).append(row)
    held = {row["user"]: row for row in pq.read_table(folder / "test_cases.parquet").to_pylist()}
    for user, rows in by_user.items():
        assert [row["place"] for row in rows] == list(range(1, 8))
        assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
        items = [row["item"] for row in rows]
        assert len(set(items)) == 7
        # Lists leave out the dev item, so that the held-out item can only move up from its rank.
        assert held[user]["item"] in items or held[user]["rank/full"] > 7


def test_the_saved_config_is_a_config(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = finished
    options = ["--baseline=false", f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epochs=3"]
    done("fit", "--config", str(folder / "config.yaml"), *options)
    again = json.loads((tmp_path / "runs" / "cove_lgcn" / "1" / "metrics.json").read_text())
    assert again["test"] == json.loads((folder / "metrics.json").read_text())["test"]


CONFIGS = [*sorted(Path("conf").glob("*.yaml")), *sorted(Path("conf/appendix_d").glob("*.yaml"))]


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_every_config_is_a_fit(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 30
    small = SMALL if "cove" in path.name else [SMALL[0], SMALL[3]]
    if "ClickThroughData" in text:
        small = [*small, "--data.init_args.planted_samples=3000"]
    if "ListData" in text:  # there are no users
        small = [option for option in small if "quantizers.user" not in option]
    options = ["--baseline=false", "--trainer.max_epochs=1", f"--trainer.default_root_dir={tmp_path}"]
    if "source: ml-1m" in text:
        small = [*small, "--data.init_args.source=planted"]
    done("fit", "--config", str(path), *small, *options)
    if "baseline: true" in text:  # what it would train beside, in a process of its own
        saved = tmp_path / "runs" / path.stem / "1" / "config.yaml"
        done("fit", "--config", str(saved), "--quantization.quantizers={}", *options)


BAD = {
    "patiense=3": "unknown key 'patiense'; did you mean 'patience'?",
    "data.init_args.colums={user: a}": "unknown key 'colums'; did you mean 'columns'?",
    "trainer.max_epochs=ten": "Expected a int, not ten",
    "model.init_args.backbone=lightning_vq.backbones.BPRMFF": "mean 'lightning_vq.backbones.collaborative.bprmf.BPRMF'",
    "trainer.max_epoch=3": "did you mean 'trainer.max_epochs'",
    "model.init_args.lrr=3": "did you mean 'lr'",
    "model.init_args.backbone.init_args.layer=3": "did you mean 'layers'",
    "model.init_args.backbone=lightning_vq.backbones.collaborative.lightgcn.LightGC": "did you mean 'LightGCN'",
    "quantization.quantizers.item=lightning_vq.quantizers.Cascade": "did you mean 'Cascaded'",
    "quantization.quantizers.item.init_args.codebook_sizes=[8,20]": "did you mean [20, 8]",
    "quantization.quantizers.item.init_args.codebook_sizes=[5000,8]": "rows (1000)",
    "data.init_args.source=ml100k": "did you mean 'ml-100k'",
    "data.init_args.source=absent.csv": "no file at absent.csv",
    "data.init_args.source=no/where": "no folder at no/where",
    "data.init_args.source=conf": "conf: of no known format; looked for ReChorus (train.csv",
    "data.init_args.batch_size=many": "batch_size",
    "model.init_args.loss=bprr": "key \"loss\": there is no 'bprr'; did you mean 'bpr'?",
    "model.init_args.metrics=[ndgc]": "key \"metrics\": there is no 'ndgc'; did you mean 'ndcg'?",
    "data.init_args.val_protocols=[every]": "there is no 'every'; choose from alone, batch, full, sampled",
    "quantization.quantizers.item.init_args.gradient=straight": "did you mean 'straight_through'?",
    "monitor=val/ndgc@10/full": "did you mean 'val/ndcg@10/full'",
    "ckpt_path=absent.ckpt": "no checkpoint at absent.ckpt",
    "trainer.accumulate_grad_batches=2": "accumulate_grad_batches",
    "trainer.gradient_clip_val=1": "did you mean 'model.init_args.clip'",
    "trainer.limit_val_batches=0": "needs validation",
    "trainer.default_root_dir=/proc/nowhere": "/proc/nowhere",
    "model.init_args.lr=-1": "lr is -1",
    "model.init_args.ks=[0]": "at least 1",
    "data.init_args.eval_negatives=0": "at least 1",
    "data.init_args.val_protocols=[]": "val_protocols is empty",
    "patience=-1": "patience",
}


@pytest.mark.parametrize("option", list(BAD))
def test_bad_input_is_one_line_and_status_two_and_leaves_nothing(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--config", "conf/cove_lgcn.yaml", f"--trainer.default_root_dir={tmp_path}", f"--{option}"]
    assert BAD[option] in refused(monkeypatch, capfd, "fit", *options)
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_ends_the_process_with_status_two(tmp_path: Path) -> None:
    options = ["--config", "conf/cove_lgcn.yaml", f"--trainer.default_root_dir={tmp_path}", "--trainer.max_epoch=3"]
    told = run("fit", *options, expect=2).stderr
    assert told.count("error: ") == 1
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "# a comment", "- a list"])
def test_a_config_without_keys(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    told = refused(monkeypatch, capfd, "fit", "--config", str(tmp_path / "mine.yaml"))
    assert "mine.yaml is no config: it has no keys and values" in told


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["predict", "tests"], "'tests' belongs to no option; did you mean --run tests?"),
        (["fit", "conf/bprmf.yaml"], "'conf/bprmf.yaml' belongs to no option; did you mean --config conf/bprmf.yaml?"),
        (["data", "info", "planted", "--min-users=3"], "there is no option --min-users; did you mean '--min-user'?"),
        (["compare", "a", "--metrc", "x"], "there is no option --metrc; did you mean '--metric'?"),
    ],
)
def test_a_misspelt_option_of_a_verb(
    command: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(monkeypatch, capfd, *command)


def test_a_misspelt_key_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.yaml").write_text(Path("conf/bprmf.yaml").read_text().replace("patience", "patiense"))
    assert "did you mean 'patience'?" in refused(monkeypatch, capfd, "fit", "--config", str(tmp_path / "my.yaml"))


def test_options_that_would_be_ignored(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    told = refused(monkeypatch, capfd, "fit", "--config", "conf/cfkg.yaml", "--data.init_args.negatives=4")
    assert "CFKG trains on triples" in told
    told = refused(monkeypatch, capfd, "fit", "--config", "conf/bprmf.yaml", "--data.init_args.refit=true")
    assert "refit trains on the validation part, so that patience (30) has nothing to go by" in told


@pytest.mark.parametrize("arguments", [["fitt"], ["fit"], ["test"], ["fit", "--config", "conf/absent.yaml"]])
def test_wrong_verbs_and_missing_configs(arguments: list[str]) -> None:
    assert done(*arguments, expect=2).startswith("error: ")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    assert "not a run folder" in done("test", "--run", str(tmp_path), expect=2)


def test_help_and_version_import_no_torch() -> None:
    code = (
        "import sys; from lightning_vq.__main__ import main; sys.argv = ['lightning_vq', '{}']; main(); "
        "assert 'torch' not in sys.modules"
    )
    for verb in ("--help", "--version"):
        subprocess.run([sys.executable, "-c", code.format(verb)], check=True, capture_output=True)


TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2")


@pytest.mark.parametrize("launcher", [(), TORCHRUN])
def test_two_processes(tmp_path: Path, launcher: tuple[str, ...]) -> None:
    options = [*SMALL, "--trainer.max_epochs=2", f"--trainer.default_root_dir={tmp_path}"]
    ranks = ["--trainer.devices=2", "--trainer.accelerator=cpu", "--trainer.strategy=ddp"]
    told = run("fit", "--config", "conf/cove_lgcn.yaml", *options, *ranks, launcher=launcher).stdout
    folder = tmp_path / "runs" / "cove_lgcn" / "1"
    assert [p.name for p in folder.parent.iterdir()] == ["1"]
    summary = json.loads((folder / "metrics.json").read_text())
    assert summary["epochs"] == 2
    users = pq.read_table(folder / "test_users.parquet")
    assert len(users) == 150
    assert np.mean(users["hr@10/full"].to_numpy()) == pytest.approx(summary["test"]["test/hr@10/full"], abs=1e-6)
    assert "difference" in told


def test_data_that_changed_is_refused(tmp_path: Path) -> None:
    rows = [f"{u:03d},t{(u * 7 + i * 13) % 97},{100 * u + i}" for u in range(60) for i in range(8)]
    header, source = "user,item,timestamp\n", tmp_path / "plays.csv"
    source.write_text(header + "\n".join(rows) + "\n")
    options = ["--config", str(Path("conf/bprmf.yaml").absolute()), "--trainer.max_epochs=1", SMALL[3]]
    done("fit", *options, "--data.init_args.source=plays.csv", folder=tmp_path)
    folder = tmp_path / "runs" / "bprmf" / "1"
    done("predict", "--run", str(folder))  # from another folder than the source was named from
    assert pq.read_table(folder / "recommendations.parquet")["user"][0].as_py() == "000"  # as written
    source.write_text(header + "\n".join(reversed(rows)) + "\n")
    assert "the data has changed" in done("predict", "--run", str(folder), expect=2)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {(f"anna{u}", f"thing {i}") for u in range(60) for i in rng.integers(0, 40, 12)}
    text = "who\twhat\twhen\n" + "".join(f"{u}\t{i}\t{n}\n" for n, (u, i) in enumerate(sorted(rows)))
    (tmp_path / "mine.tsv").write_text(text)
    columns = "--data.init_args.columns={user: who, item: what, timestamp: when}"
    source = [f"--data.init_args.source={tmp_path / 'mine.tsv'}", f"--trainer.default_root_dir={tmp_path}"]
    done("fit", "--config", "conf/bprmf.yaml", *source, columns, "--trainer.max_epochs=1", SMALL[3])
    folder = tmp_path / "runs" / "bprmf" / "1"
    done("predict", "--run", str(folder))
    lists = pq.read_table(folder / "recommendations.parquet").to_pylist()
    assert re.match(r"anna\d+", lists[0]["user"])
    assert lists[0]["item"].startswith("thing ")
    wrong = done("fit", "--config", "conf/bprmf.yaml", *source, "--data.init_args.columns={user: whom}", expect=2)
    assert "did you mean 'who'" in wrong


def test_a_folder_of_rechorus(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    rows = [(u, (u * 7 + i * 13) % 97, 100 * u + i) for u in range(60) for i in range(8)]
    header = "user_id\titem_id\ttime"
    for name, wanted in (("train", range(6)), ("dev", (6,)), ("test", (7,))):
        lines = ["\t".join(map(str, row)) for row in rows if row[2] % 100 in wanted]
        if name != "train":
            lines = [f"{line}\t[{', '.join(str((n * 5) % 97) for n in range(99))}]" for line in lines]
        columns = header if name == "train" else f"{header}\tneg_items"
        (shop / f"{name}.csv").write_text("\n".join([columns, *lines]) + "\n")
    options = ["--config", str(Path("conf/bprmf.yaml").absolute()), "--data.init_args.val_protocols=[full]"]
    options += ["--trainer.max_epochs=1", SMALL[3]]
    told = done("fit", *options, "--data.init_args.source=shop", folder=tmp_path)
    assert "test/ndcg@10/uni99" in told
    folder = tmp_path / "runs" / "bprmf" / "1"
    assert f"source: {shop}" in (folder / "config.yaml").read_text()
    done("test", "--run", str(folder))  # from another folder than the source was named from
    summary = json.loads((folder / "metrics.json").read_text())
    assert json.loads((folder / "test.json").read_text()) == pytest.approx(summary["test"], abs=1e-7)


def test_wandb_logs_offline_without_a_key(tmp_path: Path) -> None:
    options = [*SMALL, "--baseline=false", "--trainer.max_epochs=2", f"--trainer.default_root_dir={tmp_path}"]
    logger = ["--config", "conf/logger/wandb.yaml", f"--trainer.logger.init_args.save_dir={tmp_path}"]
    run("fit", "--config", "conf/cove_lgcn.yaml", *logger, *options, WANDB_API_KEY="", WANDB_SILENT="true")
    files = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 1
    content = files[0].read_bytes()
    for key in (b"val/ndcg@10/full", b"loss/quantization", b"codes/item/level1", b"samples_per_second"):
        assert key in content
