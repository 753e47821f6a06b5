"""The artifact of a trained model, for tests of serving."""

from pathlib import Path
from typing import Any

import torch

from lightning_vq.export.sizes import sizes
from lightning_vq.export.writer import write_artifact
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.served import products, served_bits
from lightning_vq.serving import Artifact, load


def served(folder: Path, module: Recommender, held: Any) -> Artifact:
    """Write the artifact of a model of some data, put it in evaluation mode, and open it."""
    module.eval()
    with torch.no_grad():
        write_artifact(
            folder, module, {name: one.ids for name, one in held.vocabularies().items()}, {}, products(module), True
        )
    return load(folder)


def tells_its_bytes(artifact: Artifact, module: Recommender) -> None:
    """Hold what a run tells of its bytes against what its artifact takes, by the formula."""
    found = sizes(artifact)
    bits, full = (sum(parts.values()) for parts in served_bits(module))
    assert sum(part.bits or 0 for part in found.parts) == bits
    assert found.full * 8 == full
