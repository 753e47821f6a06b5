"""What is no whole artifact is refused in words; a whole one is opened by numpy alone."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from command import SMALL, done
from served import served
from small import data, trained

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.errors import UserError
from lightning_vq.export import command as export
from lightning_vq.quantizers import DPQ
from lightning_vq.serving import load
from lightning_vq.serving.files import digest, sums


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, held = tmp_path_factory.mktemp("artifact"), data()
    module, _ = trained(BPRMF(12), {"item": lambda rows, dim: DPQ(rows, dim, subspaces=4, centroids=16)}, held=held)
    served(folder, module, held)
    return folder


def cut(folder: Path) -> None:
    (folder / "user.npy").write_bytes((folder / "user.npy").read_bytes()[:-5])


def grown(folder: Path) -> None:
    (folder / "user.npy").write_bytes((folder / "user.npy").read_bytes() + b"x")


def altered(folder: Path) -> None:
    content = bytearray((folder / "item.codes0.npy").read_bytes())
    content[-1] ^= 1
    (folder / "item.codes0.npy").write_bytes(bytes(content))


def lost(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()


def told(key: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return change


def elsewhere(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../x.npy"] = {"bytes": 1, "crc32": 0, "sha256": ""}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"digest": digest(manifest)}))


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"digest": digest(manifest)}))


def outside(folder: Path) -> None:
    shutil.copy(folder / "user.npy", folder.parent / "x.npy")
    rewritten(folder, lambda manifest: manifest["tables"]["user"].update(file="../x.npy"))


def no_sums(folder: Path) -> None:
    rewritten(folder, lambda manifest: manifest.update(files={}))


def no_list_of_files(folder: Path) -> None:
    rewritten(folder, lambda manifest: manifest.pop("files"))


def no_tables(folder: Path) -> None:
    rewritten(folder, lambda manifest: manifest.pop("tables"))


def changed(*path: str, to: object) -> Callable[[Path], None]:
    """Return what writes another value into a manifest, whose digest is mended: a foreign or a broken writer."""

    def change(manifest: dict[str, Any]) -> None:
        *before, last = path
        for key in before:
            manifest = manifest[int(key)] if isinstance(manifest, list) else manifest[key]
        manifest[last] = to

    return lambda folder: rewritten(folder, change)


def other_content(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)
        told = {"bytes": len(content)} | sums(folder / name)
        rewritten(folder, lambda manifest: manifest["files"].update({name: told}))

    return change


def other_array(name: str, array: np.ndarray[Any, Any]) -> Callable[[Path], None]:
    content = io.BytesIO()
    np.save(content, array)
    return other_content(name, content.getvalue())


def no_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut, "user.npy was cut short: it has 5,883 bytes and was written with 5,888"),
        (grown, "user.npy was altered: it has 5,889 bytes"),
        (altered, "item.codes0.npy has been altered since it was written: its crc32 is another"),
        (lost, "has no weights.safetensors, which its manifest.json names"),
        (told("seed", 1), "manifest.json has been altered"),
        (told("version", 2), "manifest.json is of version 2; this lightning_vq reads version 1"),
        (told("format", "another"), "manifest.json is of another program"),
        (elsewhere, "names '../x.npy', which is no file of the artifact's own folder"),
        (outside, "manifest.json uses '../x.npy', which is not among its files"),
        (no_sums, "manifest.json uses 'weights.safetensors', which is not among its files"),
        (no_list_of_files, "manifest.json uses 'weights.safetensors', which is not among its files"),
        (no_tables, r"its manifest and its files do not go together \(KeyError: 'tables'\)"),
        (changed("files", "user.npy", to={"bytes": 5888}), r"do not go together \(KeyError: 'crc32'\)"),
        (changed("files", "user.npy", to="x"), "do not go together"),
        (changed("tables", "item", "tiers", to=[]), "do not go together"),
        (
            changed("tables", "item", "tiers", "0", "bits", to=3),
            "item.codes0.npy has 160 bytes, and 80 x 4 codes of 3 bits",
        ),
        (changed("tables", "item", "tiers", "0", "bits", to=5), "codes of 5 bits of 16"),
        (changed("tables", "item", "tiers", "0", "rows", to=79), "item.codes0.npy has 160 bytes"),
        (changed("tables", "user", "vocab", to="item"), "120 rows of 'user' and 80 ids"),
        (changed("vocabularies", "item", "order", to="user.order.npy"), "80 ids whose order is of others"),
        (changed("history", "items", to="history.starts.npy"), "the history"),
        (other_array("key.bias.npy", np.zeros(1, np.float32)), r"key.bias.npy is of shape \(1,\), of 80 keys"),
        (other_array("history.starts.npy", np.arange(121) + 50), "the history is not of its users"),
        (other_array("user.npy", np.zeros((120, 12), np.int8)), "vectors of int8"),
        (other_array("user.npy", np.zeros((120, 6), np.float32)), "queries of 6 numbers, keys of 12"),
        (changed("scores", "keys", to="user"), "keys are of 'user'"),
        (other_content("weights.safetensors", b"junk"), "do not go together"),
        (other_content("user.npy", b""), "do not go together"),
        (no_json, "manifest.json is broken: it is no JSON"),
        (no_manifest, "is no artifact: it has no manifest.json"),
    ],
)
def test_what_is_not_whole_is_refused(artifact: Path, tmp_path: Path, harm: Callable[[Path], None], said: str) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(artifact, folder)
    load(folder, check="sha256")
    harm(folder)
    with pytest.raises(UserError, match=said):
        load(folder)


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
    assert some.splitlines() == lines[:4]
    assert "unknown: nobody" in done("recommend", "served/it", "--user", "u0", "nobody", expect=2, folder=tmp_path)
    assert "is there already" in done("export", "--run", run, "--out", "served/it", expect=2, folder=tmp_path)
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

    def other_vectors(folder: Path, module: Any, ids: Any, told: Any, scored: Any) -> None:
        whole(folder, module, ids, told, scored)
        with torch.no_grad():
            module.tables["item"][7] += 0.01

    def other_ids(folder: Path, module: Any, ids: Any, told: Any, scored: Any) -> None:
        whole(folder, module, ids | {"item": ids["item"].take(pa.array(range(len(ids["item"])))[::-1])}, told, scored)

    for write, said in (
        (other_vectors, "vectors differ from the model's"),
        (other_ids, "ids of item would not be found"),
    ):
        monkeypatch.setattr(export, "write_artifact", write)
        assert said in asked()
        assert [path.name for path in tmp_path.iterdir()] == ["runs"]

    def late(folder: Path, module: Any, ids: Any, told: Any, scored: Any) -> None:
        whole(folder, module, ids, told, scored)
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
