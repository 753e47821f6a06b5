"""What a checkpoint of ours holds beside its weights, so that it opens alone."""

from pathlib import Path
from typing import Any

import torch

from lightning_vq.backbones.base import Backbone
from lightning_vq.errors import UserError
from lightning_vq.quantizers.base import Quantizer
from lightning_vq.specs import construct


def saved_part(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return facts, module, backbone, quantizers and random_state.

    Raises:
        UserError: the checkpoint is of something else.
    """
    saved = checkpoint.get("lightning_vq") if isinstance(checkpoint, dict) else None
    parts = {"facts", "module", "backbone", "quantizers", "random_state"}
    if not isinstance(saved, dict) or not parts <= set(saved):
        raise UserError("the checkpoint was not written by lightning_vq (no whole 'lightning_vq' entry)")
    return saved


def checked_checkpoint(path: Path) -> Path:
    """Return the path if it holds a readable checkpoint of ours.

    Raises:
        UserError: there is none, it is cut off, or it is something else.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise UserError(f"{path} is not a readable checkpoint: {str(error).splitlines()[0]}") from None
    saved = saved_part(checkpoint)
    construct(saved["backbone"], Backbone)
    for spec in saved["quantizers"].values():
        construct(spec, Quantizer)
    return path
