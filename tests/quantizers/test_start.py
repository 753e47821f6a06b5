"""How many codes are in use before the first step on tables as large as ml-1m's."""

import pytest
import torch

from lightning_vq.quantizers import Cascaded
from lightning_vq.types import Table


@pytest.mark.parametrize("vocab", ["user", "item"])
def test_most_codes_are_in_use_before_the_first_step(vocab: str) -> None:
    rows = {"user": 6040, "item": 3706}[vocab]
    torch.manual_seed(0)
    table = torch.randn(rows, 64) * 0.01
    quantizer = Cascaded(rows, 64, codebook_sizes=[500, 10])
    quantizer.start(Table(table))
    assert len(quantizer.encode(table, torch.arange(rows))[:, 0].unique()) >= 350
    normal = Cascaded(rows, 64, codebook_sizes=[500, 10], init="normal")
    normal.start(Table(table))
    assert len(normal.encode(table, torch.arange(rows))[:, 0].unique()) < 10  # what table_std is there for
