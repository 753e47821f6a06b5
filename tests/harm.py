"""What can happen to an artifact's folder: harm from outside, and writers that are foreign or broken."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from lightning_vq.serving.files import digest, sums


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


def other_weight(name: str, array: np.ndarray[Any, Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        weights = load_file(folder / "weights.safetensors")
        assert name in weights
        other_content("weights.safetensors", save(weights | {name: array}))(folder)

    return change
