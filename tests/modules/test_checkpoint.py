"""A checkpoint opens alone, and is refused where it does not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from small import cascaded, data, trained, weights

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.errors import UserError
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.modules.checkpoint import checked_checkpoint


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CollaborativeFiltering]:
    folder = tmp_path_factory.mktemp("run")
    saving = ModelCheckpoint(folder, "one", save_on_train_epoch_end=True)
    module, _ = trained(LightGCN(layers=2), {"user": cascaded, "item": cascaded}, epochs=1, callbacks=[saving])
    return folder / "one.ckpt", module


def changed(path: Path, folder: Path, change: Any) -> Path:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, folder / "changed.ckpt")
    return folder / "changed.ckpt"


def test_opens_alone_and_scores_alike(saved: tuple[Path, CollaborativeFiltering]) -> None:
    path, module = saved
    opened = CollaborativeFiltering.load_from_checkpoint(checked_checkpoint(path))
    for name, value in weights(module).items():
        assert torch.equal(value, weights(opened)[name])
    held = data()
    held.setup()
    batch = next(iter(held.test_dataloader()))
    with torch.no_grad():
        ours, theirs = (m.ranks_of(m.lookup(), batch) for m in (module, opened))
    assert torch.equal(ours["full"], theirs["full"])
    assert torch.equal(ours["uni99"], theirs["uni99"])


@pytest.mark.parametrize("foreign", ["subprocess.Popen", "torch.nn.Linear", "no.such.Thing", "Thing"])
def test_a_foreign_class_is_refused(saved: tuple[Path, CollaborativeFiltering], tmp_path: Path, foreign: str) -> None:
    marker = tmp_path / "ran"
    spec = {"class_path": foreign, "init_args": {"args": ["touch", str(marker)]}}
    for change in (
        lambda c: c["lightning_vq"].update(backbone=spec),
        lambda c: c["lightning_vq"]["quantizers"].update(item=spec),
    ):
        path = changed(saved[0], tmp_path, change)
        with pytest.raises(UserError, match=foreign):
            checked_checkpoint(path)
        with pytest.raises(UserError, match=foreign):
            CollaborativeFiltering.load_from_checkpoint(path)
    assert not marker.exists()


def test_a_checkpoint_of_another_model_is_refused(saved: tuple[Path, CollaborativeFiltering]) -> None:
    path = str(saved[0])
    with pytest.raises(UserError, match="LightGCN"):
        trained(BPRMF(), {"user": cascaded, "item": cascaded}, ckpt_path=path)
    with pytest.raises(UserError, match="'layers': 2"):
        trained(LightGCN(layers=3), {"user": cascaded, "item": cascaded}, ckpt_path=path)
    other = data(min_user=12)
    with pytest.raises(UserError, match="entities"):
        trained(LightGCN(layers=2), {"user": cascaded, "item": cascaded}, ckpt_path=path, held=other)


def test_a_base_models_checkpoint_under_a_quantizer_is_refused(tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path, "base", save_on_train_epoch_end=True)
    trained(BPRMF(), {}, epochs=1, callbacks=[saving])
    with pytest.raises(UserError, match="no quantizer on"):
        trained(BPRMF(), {"item": cascaded}, ckpt_path=str(tmp_path / "base.ckpt"))


def test_what_is_no_checkpoint_of_ours_is_refused(tmp_path: Path, saved: tuple[Path, CollaborativeFiltering]) -> None:
    with pytest.raises(UserError, match="no checkpoint at"):
        checked_checkpoint(tmp_path / "absent.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(saved[0].read_bytes()[:2000])
    with pytest.raises(UserError, match="not a readable checkpoint"):
        checked_checkpoint(tmp_path / "cut.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="not written by lightning_vq"):
        checked_checkpoint(tmp_path / "other.ckpt")


@pytest.mark.parametrize(
    ("table", "value", "named"),
    [
        ("item", torch.nan, r"keys \(80, 64\)"),
        ("item", torch.inf, r"keys \(80, 64\)"),
        ("user", -torch.inf, r"hidden \(\d+, 64\)"),
        ("item_bias", torch.inf, r"bias \(80,\)"),
    ],
)
def test_a_number_that_is_not_finite_stops_training_and_evaluation_by_name(
    table: str, value: float, named: str
) -> None:
    module, _ = trained(BPRMF(), {}, epochs=1)
    with torch.no_grad():
        module.tables[table][3, 0] = value
    held = data()
    held.setup()
    with pytest.raises(UserError, match=f"{named} holds NaN or infinity"):
        module.ranks_of(module.lookup(), next(iter(held.test_dataloader())))
    assert module._broken({}) == f"parameter 'tables.{table}' holds NaN or infinity"
