"""An artifact that tests of several files read, and copies of which they harm."""

from pathlib import Path

import pytest
from served import served
from small import data, trained

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.quantizers import DPQ


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, held = tmp_path_factory.mktemp("artifact"), data()
    module, _ = trained(BPRMF(12), {"item": lambda rows, dim: DPQ(rows, dim, subspaces=4, centroids=16)}, held=held)
    served(folder, module, held)
    return folder
