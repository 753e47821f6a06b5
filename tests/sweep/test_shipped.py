"""Every file in sweeps/ is a study that could be run: its settings, and every edge of its space."""

import os
from pathlib import Path

import pytest

from lightning_vq.sweep.command import trial_options, variants
from lightning_vq.sweep.processes import rehearsed
from lightning_vq.sweep.settings import read_settings
from lightning_vq.sweep.space import read_space


@pytest.mark.parametrize("path", sorted(Path("sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_sweep_can_be_run(path: Path) -> None:
    settings, resume, _ = read_settings(["--config", str(path)])
    assert not resume
    assert settings.name == path.stem
    if "ml-100k" in settings.fixed.values() and "LIGHTNING_VQ_DATA" not in os.environ:
        settings.fixed["data.init_args.source"] = "planted"  # would download; keys and types are checked all the same
    space = read_space(settings.space)
    found = rehearsed(trial_options(settings), variants(settings, space))
    assert found.epochs == settings.fixed["trainer.max_epochs"]
    assert len(path.read_text().splitlines()) <= 30
