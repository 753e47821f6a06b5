"""What W&B is told, read back from the file that an offline run leaves; and the dashboards that show it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_vq.dashboards import main, panel, read_dashboards, workspace
from lightning_vq.errors import UserError

Records = dict[str, list[dict[str, Any]]]


def read_offline(folder: Path) -> tuple[list[Path], Records, dict[str, Any]]:
    """Return the run files below a folder, and records by type and summary of the first."""
    files = [path for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")) if not path.parent.is_symlink()]
    wandb = shutil.which("wandb", path=str(Path(sys.executable).parent))
    assert wandb is not None
    inspect = [wandb, "leet", "inspect", "--json", str(files[0])]
    lines = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.splitlines()
    records: Records = {}
    for line in lines:
        record = json.loads(line)
        records.setdefault(record["type"], []).append(record[record["type"]])
    summary = subprocess.run([*inspect, "--summary"], capture_output=True, text=True, check=True).stdout
    return files, records, json.loads(summary)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], Records, dict[str, Any]]:
    """One fit on two ranks, offline."""
    root = tmp_path_factory.mktemp("wandb")
    subprocess.run(
        [sys.executable, "-m", "lightning_vq", "fit", "--config", "conf/cove_lgcn.yaml",
         "--config", "conf/logger/wandb.yaml", f"--trainer.logger.init_args.save_dir={root}",
         f"--trainer.default_root_dir={root}", "--trainer.max_epochs=2", "--baseline=false",
         "--trainer.strategy=ddp_fork", "--trainer.accelerator=cpu", "--trainer.devices=2", "--wandb.checkpoint=true",
         "--data.init_args.planted={users: 150, items: 90, branching: [4, 3], mean_length: 12}",
         *(f"--quantization.quantizers.{v}.init_args.codebook_sizes=[12, 4]" for v in ("user", "item"))],
        check=True, capture_output=True, env={**os.environ, "WANDB_API_KEY": ""},
    )  # fmt: skip
    return root, *read_offline(root)


def logged_keys(records: Records) -> set[str]:
    """Return every key of the history; a histogram, table or page is one key of many parts."""
    keys = {key for row in records["history"] for key in row["item"]}
    return {re.sub(r"\._type$", "", key) for key in keys} | keys


def flat_values(nested: dict[str, Any], at: str = "") -> dict[str, Any]:
    found = {}
    for name, value in nested.items():
        found |= {f"{at}{name}": value} | (flat_values(value, f"{at}{name}.") if isinstance(value, dict) else {})
    return found


def flat(config: dict[str, Any]) -> set[str]:
    return set(flat_values(config))


def test_two_ranks_are_one_run(logged: tuple[Path, list[Path], Records, dict[str, Any]]) -> None:
    _, files, records, summary = logged
    assert len(files) == 1
    assert summary["state"] == "finished"
    epochs = [row["item"]["epoch"] for row in records["history"] if "val/ndcg@10/full" in row["item"]]
    assert epochs == [0, 1]


def test_every_panel_shows_something_that_was_logged(
    logged: tuple[Path, list[Path], Records, dict[str, Any]],
) -> None:
    _, _, records, summary = logged
    keys = logged_keys(records) | set(summary["summary"])
    numbers = {key for key, value in flat_values(summary["summary"]).items() if isinstance(value, (int, float))}
    configured = flat(summary["config"])
    panels = [p for dashboard in read_dashboards() for section in dashboard["sections"] for p in section["panels"]]
    assert len(panels) > 12
    for told in panels:
        shown = keys if told["kind"] in ("lines", "media") else numbers
        assert set(told.get("keys", [])) <= shown, told
        assert set(told.get("config", [])) <= configured, told
        if "pattern" in told:
            assert any(re.search(told["pattern"], key) for key in keys), told


def test_the_run_is_complete(logged: tuple[Path, list[Path], Records, dict[str, Any]]) -> None:
    root, _, records, told = logged
    summary = told["summary"]
    metrics = json.loads((root / "runs/cove_lgcn/1/metrics.json").read_text())
    for name, value in metrics["test"].items():
        assert summary[name] == pytest.approx(value)
    assert summary["bytes"] == metrics["bytes"] == 4 * 64 * (150 + 90)
    rows = [row["item"]["val/ndcg@10/full"] for row in records["history"] if "val/ndcg@10/full" in row["item"]]
    assert summary["val/ndcg@10/full"] == {"max": pytest.approx(max(rows))}
    assert told["config"]["quantization"]["quantizers"]["item"]["init_args"]["codebook_sizes"] == [12, 4]
    counts = [row["item"] for row in records["history"] if "usage/item/level2._type" in row["item"]]
    assert sum(counts[0]["usage/item/level2.values"]) == 4  # codes, by how many entities each has
    assert summary["recommendations"]["nrows"] == 10
    table = next((root / "wandb").glob("offline-run-*/files/media/table/recommendations*.json"))
    content = json.loads(table.read_text())
    assert content["columns"] == ["user", "history", "held out", "recommended", "place of held out"]
    assert len(content["data"][0][3].split("; ")) == 10
    pages = list((root / "wandb").glob("offline-run-*/files/media/html/tree/item*.html"))
    assert len(pages) == 1
    run = next(artifact for artifact in records["artifact"] if artifact["type"] == "run")
    names = {entry["path"] for entry in run["manifest"]["contents"]}
    assert {"best.ckpt", "config.yaml", "metrics.json", "tree/item.json", "tree/user.json"} <= names


def test_dashboards_become_workspaces(capsys: pytest.CaptureFixture[str]) -> None:
    for dashboard in read_dashboards():
        view = workspace(dashboard, "someone", "lightning_vq")
        assert view.name == dashboard["name"]
        assert [len(s.panels) for s in view.sections] == [len(s["panels"]) for s in dashboard["sections"]]
        assert view._to_model().spec.section.panel_bank_config.sections  # what `save` sends
    main(["--list"])
    assert "Share of codes in use: ^codes/.*/used$" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no kind of panel 'pie'"):
        panel({"kind": "pie", "title": "x"})


def test_publishing_without_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="needs --entity NAME"):
        main([])
    for name, value in {"WANDB_API_KEY": "", "WANDB_BASE_URL": "http://127.0.0.1:9", "HOME": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="dashboard 'lightning_vq: training' was not published: "):
        main(["--entity", "someone"])
