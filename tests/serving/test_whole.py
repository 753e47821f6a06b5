"""A whole artifact is opened by numpy alone, and is made and used on the command line."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from command import SMALL, done
from harm import rewritten

from lightning_vq.errors import UserError
from lightning_vq.export import command as export
from lightning_vq.serving import load

ALONE = """
import sys
import zlib
from lightning_vq.serving import load
artifact = load(sys.argv[1], check="sha256")
assert artifact.embed("item", artifact.ids["item"].ids([0, 1])).shape == (2, 12)
assert len(artifact.recommend(artifact.ids["user"].ids([0])[0])) == 10
strange = {"torch", "lightning", "pandas", "pyarrow", "scipy", "sklearn"} & set(sys.modules)
assert not strange, strange
"""
COMMAND = """
import runpy, sys
for name in ("torch", "lightning", "pyarrow", "pandas", "yaml", "rich", "jsonargparse", "wandb", "optuna"):
    sys.modules[name] = None
sys.argv = ["lightning_vq", "recommend", sys.argv[1], "--user", sys.argv[2], "-k", "3"]
runpy.run_module("lightning_vq", run_name="__main__")
"""


def test_it_is_served_by_numpy_alone(artifact: Path) -> None:
    subprocess.run([sys.executable, "-c", ALONE, str(artifact)], check=True, timeout=60)
    user = str(load(artifact).ids["user"].ids([0])[0])
    said = subprocess.run(
        [sys.executable, "-c", COMMAND, str(artifact), user], check=True, timeout=60, capture_output=True, text=True
    ).stdout
    assert len(said.splitlines()) == 4


def test_where_packages_are_missing_a_verb_says_which() -> None:
    code = (
        COMMAND.partition("sys.argv")[0]
        + "sys.argv = sys.argv[1:]\nrunpy.run_module('lightning_vq', run_name='__main__')"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, "lightning_vq", "fit", "--config", "x.yaml"], capture_output=True, text=True
    )
    assert (told.returncode, told.stdout) == (2, "")
    assert re.fullmatch(r"error: fit needs all of lightning_vq's packages: there is no \w+\n", told.stderr)


def test_sums_are_what_they_are_called(artifact: Path, tmp_path: Path) -> None:
    content = (artifact / "user.npy").read_bytes()
    told = json.loads((artifact / "manifest.json").read_text())["files"]["user.npy"]
    assert told == {"bytes": len(content), "crc32": zlib.crc32(content), "sha256": hashlib.sha256(content).hexdigest()}
    folder = tmp_path / "artifact"
    shutil.copytree(artifact, folder)
    rewritten(folder, lambda manifest: manifest["files"]["user.npy"].update(sha256="0" * 64))
    load(folder)
    with pytest.raises(UserError, match="has been altered since it was written: its sha256 is another"):
        load(folder, check="sha256")


def test_from_a_run_to_recommendations_on_the_command_line(tmp_path: Path) -> None:
    done("fit", "--config", str(Path("conf/cove_bprmf.yaml").resolve()), *SMALL, "--trainer.max_epochs=1",
         "--baseline=false", folder=tmp_path)  # fmt: skip
    run = "runs/cove_bprmf/1"
    said = done("export", "--run", run, "--out", "served/it", folder=tmp_path)
    assert "all files" in said
    assert "Next: python -m lightning_vq recommend served/it --user u0" in said
    lines = done("recommend", "served/it", "--user", "u0", "u1", "-k", "3", folder=tmp_path).splitlines()
    assert lines[0] == "user\tplace\titem\tscore"
    assert [line.split("\t")[:2] for line in lines[1:]] == [[u, p] for u in ("u0", "u1") for p in "123"]
    some = done("recommend", "served/it", "--user", "u0", "nobody", "-k", "3", "--exclude", "new", "--skip-unknown",
                folder=tmp_path)  # fmt: skip
    assert some.splitlines() == [lines[0], "1 of 2 users are unknown and were passed over", *lines[1:4]]
    assert "unknown: nobody" in done("recommend", "served/it", "--user", "u0", "nobody", expect=2, folder=tmp_path)
    assert "is there already" in done("export", "--run", run, "--out", "served/it", expect=2, folder=tmp_path)
    assert "history" not in done("export", "--run", run, "--out", "without", "--no-history", folder=tmp_path)
    again = done("recommend", "without", "--user", "u0", "-k", "3", folder=tmp_path)
    assert again == done("recommend", "served/it", "--user", "u0", "-k", "3", "--with-seen", folder=tmp_path) != said
    told = json.loads((tmp_path / "without/manifest.json").read_text())
    assert (told["history"], told["run"]["source"]) == (None, "planted")
    assert "manifest.json is a file; an artifact is the folder" in done(
        "recommend", "served/it/manifest.json", "--user", "u0", expect=2, folder=tmp_path
    )
    assert "is no artifact" in done("recommend", run, "--user", "u0", expect=2, folder=tmp_path)
    assert "1 of 1 user ids are unknown: me" in done(
        "recommend", "served/it", "--user", "me", expect=2, folder=tmp_path
    )
    assert sorted(path.name for path in (tmp_path / "served").iterdir()) == ["it"]


def test_what_differs_from_the_model_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done("fit", "--config", str(Path("conf/cove_bprmf.yaml").resolve()), *SMALL, "--trainer.max_epochs=1",
         "--baseline=false", folder=tmp_path)  # fmt: skip
    run, whole = tmp_path / "runs/cove_bprmf/1", export.write_artifact

    def asked(expect: int = 2) -> str:
        return done("export", "--run", str(run), "--out", str(tmp_path / "out"), expect=expect)

    def other_vectors(folder: Path, module: Any, ids: Any, told: Any, scored: Any, history: bool) -> None:
        whole(folder, module, ids, told, scored, history)
        with torch.no_grad():
            module.tables["item"][7] += 0.01

    def other_ids(folder: Path, module: Any, ids: Any, told: Any, scored: Any, history: bool) -> None:
        whole(
            folder,
            module,
            ids | {"item": ids["item"].take(pa.array(range(len(ids["item"])))[::-1])},
            told,
            scored,
            history,
        )

    for write, said in (
        (other_vectors, "vectors differ from the model's"),
        (other_ids, "ids of item would not be found"),
    ):
        monkeypatch.setattr(export, "write_artifact", write)
        assert said in asked()
        assert [path.name for path in tmp_path.iterdir()] == ["runs"]

    def late(folder: Path, module: Any, ids: Any, told: Any, scored: Any, history: bool) -> None:
        whole(folder, module, ids, told, scored, history)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "another").touch()

    monkeypatch.setattr(export, "write_artifact", late)
    assert "out has been made meanwhile; nothing was written" in asked()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["another"]
    shutil.rmtree(tmp_path / "out")
    monkeypatch.setattr(export, "write_artifact", whole)
    (run / "metrics.json").write_text(json.dumps(json.loads((run / "metrics.json").read_text()) | {"state": "stopped"}))
    assert "has not finished: its best epoch so far is exported" in asked(expect=0)
    (run / "vocab" / "item.parquet").unlink()
    shutil.rmtree(tmp_path / "out")
    assert "it has no vocab/item.parquet" in asked()
