"""Fetches a source's official files: licence notice, progress bar, checksum, nothing half written."""

import hashlib
import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from lightning_vq.errors import UserError


class Remote(NamedTuple):
    """A file at its official address."""

    url: str
    md5: str | None = None  # where the publisher gives one

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


def download(
    name: str, licence: str, remotes: Sequence[Remote], unpack: Callable[[Path, Path], None], folder: Path
) -> None:
    """Fetch, check and unpack into `folder`, which appears whole or not at all.

    Args:
        name: of the source, for messages.
        licence: printed before the first byte.
        remotes: what to fetch.
        unpack: writes the project's files, given the folder of fetched files and the folder to fill.
        folder: must not exist yet.

    Raises:
        UserError: no network, a wrong checksum, files that cannot be unpacked.
    """
    print(f"{name}: licence: {licence}", file=sys.stderr)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as temporary:
        fetched, made = Path(temporary) / "fetched", Path(temporary) / "made"
        fetched.mkdir()
        made.mkdir()
        for remote in remotes:
            try:
                _fetch(remote, fetched / remote.name)
            except OSError as error:
                reason = getattr(error, "reason", error)
                raise UserError(
                    f"{name}: {remote.url} cannot be fetched ({reason}). Without a network, fetch it elsewhere and "
                    f"run: python -m lightning_vq data download {name} --files FOLDER_WITH_{remote.name}; "
                    f"the data set belongs in {folder}"
                ) from None
        unpack_checked(name, unpack, fetched, made)
        os.replace(made, folder)


def unpack_checked(name: str, unpack: Callable[[Path, Path], None], fetched: Path, made: Path) -> None:
    """Unpack, and turn whatever a strange file provokes into one message."""
    try:
        unpack(fetched, made)
    except UserError:
        raise
    except Exception as error:
        shutil.rmtree(made, ignore_errors=True)
        raise UserError(f"{name}: the files in {fetched} are not what was expected: {error!r}") from None


def _fetch(remote: Remote, target: Path) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    request = urllib.request.Request(remote.url, headers={"User-Agent": "lightning_vq"})
    with urllib.request.urlopen(request, timeout=30) as response, target.open("wb") as file:
        size = int(response.headers.get("Content-Length") or 0)
        with tqdm(total=size or None, unit="B", unit_scale=True, desc=remote.name) as bar:
            while chunk := response.read(1 << 20):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
    if size and target.stat().st_size != size:
        raise UserError(f"{remote.url}: broke off after {target.stat().st_size} of {size} bytes; try again")
    if remote.md5 and digest.hexdigest() != remote.md5:
        raise UserError(f"{remote.url}: checksum {digest.hexdigest()} is not the published {remote.md5}; not used")
