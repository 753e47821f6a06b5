"""Opening an artifact: its files are whole, and fit each other."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError

from lightning_vq.errors import UserError
from lightning_vq.serving.artifact import Artifact
from lightning_vq.serving.files import Check, whole_files


def load(folder: str | Path, check: Check = "crc32") -> Artifact:
    """Open an artifact. Tables stay on disk and are mapped: what is not asked for takes no memory.

    Args:
        folder: that `python -m lightning_vq export` has written.
        check: how files are held against the manifest, "crc32", or "sha256", which takes about four times as long.
            Neither tells who wrote them: an artifact of someone else's may hold anything.

    Raises:
        UserError: it is no artifact, of another version, or a file is missing, cut short or altered.
    """
    try:
        artifact = Artifact(whole_files(Path(folder), check))
        if artifact.history:
            _refuse_strange_history(artifact)
        return artifact
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, EOFError, RecursionError, SafetensorError) as error:
        told = f"{type(error).__name__}: {error}"
        raise UserError(f"{folder}: its manifest and its files do not go together ({told})") from None


def _refuse_strange_history(artifact: Artifact) -> None:
    """Refuse a history that is not of the artifact's users and items."""
    starts, items = artifact.history["starts"], artifact.history["items"]
    kinds = starts.dtype.kind == items.dtype.kind == "i" and starts.ndim == items.ndim == 1
    ends = kinds and (starts[0], starts[-1]) == (0, len(items))
    if not ends or len(starts) != len(artifact.ids["user"]) + 1 or (np.diff(starts) < 0).any():
        raise ValueError("the history is not of its users")
    if len(items) and not 0 <= items.min() <= items.max() < len(artifact.ids["item"]):
        raise ValueError("the history has items that are not there")
