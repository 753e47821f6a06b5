"""Serving what `export` has written, with numpy alone: no torch, no pickle, tables mapped from disk.

>>> import lightning_vq.serving  # artifact = lightning_vq.serving.load("artifact")
"""

from lightning_vq.errors import UserError
from lightning_vq.serving.artifact import Artifact
from lightning_vq.serving.opening import load

__all__ = ["Artifact", "UserError", "load"]
