"""Fetches a source's official files: licence notice, progress bar, checksum, nothing half written."""

import hashlib
import http.client
import os
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
    sha256: str | None = None  # likewise

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
    with _beside(folder) as temporary:
        fetched = Path(temporary)
        for remote in remotes:
            try:
                _fetch(remote, fetched / remote.name)
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                raise UserError(
                    f"{name}: {remote.url} cannot be fetched ({reason}). Without a network, fetch it elsewhere and "
                    f"run: python -m lightning_vq data download {name} --files FOLDER_WITH_{remote.name}; "
                    f"the data set belongs in {folder}"
                ) from None
        unpack_whole(unpack, fetched, " and ".join(remote.url for remote in remotes), folder)


def unpack_whole(unpack: Callable[[Path, Path], None], fetched: Path, origin: str, folder: Path) -> None:
    """Unpack into `folder`, which appears whole or not at all; whatever a strange file provokes is one message."""
    with _beside(folder) as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        try:
            unpack(fetched, made)
        except Exception as error:
            raise UserError(f"{folder.name}: {origin}: not the files that were expected: {error!r}") from None
        try:
            os.replace(made, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, as the first trials of a sweep are
                raise


def _beside(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a hidden folder on the disk of `folder`, so that what is ready only needs a new name."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-")
    except OSError as error:
        raise UserError(f"{folder.parent}: no folder can be made there ({error.strerror})") from None


def _fetch(remote: Remote, target: Path) -> None:
    digest = hashlib.sha256() if remote.sha256 else hashlib.md5(usedforsecurity=False)
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
    published = remote.sha256 or remote.md5
    if published and digest.hexdigest() != published:
        raise UserError(f"{remote.url}: checksum {digest.hexdigest()} is not the published {published}; not used")
