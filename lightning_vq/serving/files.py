"""The files of an artifact: which there are, and that they are whole.

manifest.json tells of every other file its size, its CRC-32 and its SHA-256, and has a digest of itself.
"""

import hashlib
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from lightning_vq.errors import UserError
from lightning_vq.serving.packing import Array

Check = Literal["crc32", "sha256"]

FORMAT, VERSION, MANIFEST = "lightning_vq artifact", 1, "manifest.json"
CHUNK = 1 << 22  # bytes read at a time


def digest(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest's content but its own digest."""
    content = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sums(path: Path, kinds: tuple[Check, ...] = ("crc32", "sha256")) -> dict[str, Any]:
    """Return the check sums of a file by kind."""
    crc, sha = 0, hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            if "crc32" in kinds:
                crc = zlib.crc32(chunk, crc)
            if "sha256" in kinds:
                sha.update(chunk)
    found = {"crc32": crc, "sha256": sha.hexdigest()}
    return {kind: found[kind] for kind in kinds}


class Files:
    """The files of an artifact that are as they were written.

    Args:
        folder: theirs.
        manifest: theirs, see `whole_files`.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest

    def path(self, name: str) -> Path:
        """Return the path of a file.

        Raises:
            UserError: the manifest has no sum of it: anything could be in it.
        """
        if name not in self.manifest["files"]:
            raise UserError(f"{self.folder / MANIFEST} uses {name!r}, which is not among its files")
        return self.folder / name

    def array(self, name: str) -> Array:
        """Return an array that is mapped from its file."""
        made: Array = np.load(self.path(name), mmap_mode="r", allow_pickle=False)
        return made


def whole_files(folder: Path, check: Check) -> Files:
    """Return an artifact's files when all of them are as they were written.

    Raises:
        UserError: it is no artifact, of another version, or a file is missing, cut short or altered.
    """
    if check not in get_args(Check):
        raise UserError(f"check is {check!r}; it must be one of {', '.join(get_args(Check))}")
    folder = folder.resolve()  # the working folder may change while it is served
    path = folder / MANIFEST
    if folder.is_file():
        raise UserError(f"{folder} is a file; an artifact is the folder that export has written")
    if not path.is_file():
        run = (folder / "config.yaml").is_file()
        how = f"; make one of this run: python -m lightning_vq export --run {folder} --out DIR" if run else ""
        raise UserError(f"{folder} is no artifact: it has no {MANIFEST}{how}")
    try:
        manifest = json.loads(path.read_text())
    except ValueError:
        raise UserError(f"{path} is broken: it is no JSON") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path} is of another program: its format is not {FORMAT!r}")
    if manifest.get("version") != VERSION:
        raise UserError(f"{path} is of version {manifest.get('version')}; this lightning_vq reads version {VERSION}")
    if manifest.get("digest") != digest(manifest):
        raise UserError(f"{path} has been altered since it was written")
    files: dict[str, dict[str, Any]] = manifest["files"] if isinstance(manifest.get("files"), dict) else {}
    manifest["files"] = files
    for name, told in files.items():
        if Path(name).name != name:
            raise UserError(f"{path} names {name!r}, which is no file of the artifact's own folder")
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size is None:
            raise UserError(f"{folder} has no {name}, which its {MANIFEST} names")
        if size != told["bytes"]:
            short = "cut short" if size < told["bytes"] else "altered"
            raise UserError(
                f"{folder / name} was {short}: it has {size:,} bytes and was written with {told['bytes']:,}"
            )
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda name: sums(folder / name, (check,))[check], files)
        for name, value in zip(files, found):
            if value != files[name][check]:
                raise UserError(f"{folder / name} has been altered since it was written: its {check} is another")
    return Files(folder, manifest)
