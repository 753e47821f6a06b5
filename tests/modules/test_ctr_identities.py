"""Identities that every click-through rate backbone must satisfy, over all that there are."""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from clicks import QUANTIZERS, clicks, fitted
from discovery import discovered
from lightning.pytorch import seed_everything
from small import weights

import lightning_vq.backbones.ctr as family
from lightning_vq.backbones.fields import FieldBackbone
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.data import ClickThroughData
from lightning_vq.errors import UserError
from lightning_vq.modules import ClickThroughRate, Recommender
from lightning_vq.quantizers import Cascaded, Quantizer
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.trainer import Trainer

WORLD = PlantedOptions(users=60, items=40, branching=(4, 3))
FACTORY = partial(Cascaded, codebook_sizes=[5, 2])


def trained(
    kind: type[FieldBackbone], quantizers: dict[str, Callable[[int, int], Quantizer]], omega_q: float = 1.0
) -> tuple[ClickThroughRate, ClickThroughData, Trainer]:
    """Return a module after an epoch of three fields, a number and a sequence, from seed 0."""
    seed_everything(0, verbose=False)
    module = ClickThroughRate(kind(dim=8), lr=1e-2, weight_decay=1e-4)
    data = ClickThroughData(planted=WORLD, planted_samples=600, batch_size=200)
    trainer = Trainer(
        max_epochs=1, logger=False, enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
        num_sanity_val_steps=0, accelerator="cpu", callbacks=[QuantizationCallback(quantizers, omega_q)],
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return module.eval(), data, trainer


@torch.no_grad()
def logits(module: Recommender, data: ClickThroughData) -> torch.Tensor:
    [batch] = data.test_dataloader()
    scores: torch.Tensor = module.backbone(module.lookup(), batch).scores
    return scores


@pytest.mark.parametrize("kind", discovered(family, FieldBackbone))
def test_no_weight_on_quantization_is_bit_equal_to_the_base_model(kind: type[FieldBackbone]) -> None:
    base, _, _ = trained(kind, {})
    factory = partial(FACTORY, alpha=0.0)
    quantized, _, _ = trained(kind, {"user": factory, "item": factory, "device": factory}, omega_q=0.0)
    assert set(quantized.quantizers) == {name for name, spec in base.specs.items() if spec.quantizable}
    ours = quantized.state_dict()
    for name, value in base.state_dict().items():
        assert torch.equal(value, ours[name]), name


def made(kind: type[FieldBackbone]) -> FieldBackbone:
    """Return a narrow backbone whose own weights are always the same."""
    torch.manual_seed(1)
    narrow = {"hidden": (16,), "first_hidden": (16,), "second_hidden": (16,)}
    return kind(dim=8, **{key: value for key, value in narrow.items() if key in inspect.signature(kind).parameters})


@pytest.mark.parametrize("kind", discovered(family, FieldBackbone))
def test_no_weight_is_bit_equal_also_on_a_file_with_gaps(kind: type[FieldBackbone], path: Path) -> None:
    factory = partial(Cascaded, codebook_sizes=[12, 4], alpha=0.0)
    base, _ = fitted(clicks(path), backbone=partial(made, kind))
    nothing, _ = fitted(clicks(path), {"user": factory, "item": factory}, partial(made, kind), omega_q=0.0)
    quantized, _ = fitted(clicks(path), QUANTIZERS, partial(made, kind), epochs=1)
    assert set(nothing.quantizers) == {name for name, spec in base.specs.items() if spec.quantizable} == set(QUANTIZERS)
    for name, value in weights(base).items():
        assert torch.equal(value, weights(nothing)[name]), name
    assert not torch.equal(quantized.tables["item"], base.tables["item"])


@pytest.mark.parametrize("kind", discovered(family, FieldBackbone))
def test_a_changed_codebook_changes_logits_and_a_checkpoint_keeps_them(
    kind: type[FieldBackbone], tmp_path: Path
) -> None:
    module, data, trainer = trained(kind, {"item": FACTORY})
    before = logits(module, data)
    trainer.save_checkpoint(tmp_path / "whole.ckpt")
    again = Recommender.load_from_checkpoint(tmp_path / "whole.ckpt")
    assert isinstance(again, ClickThroughRate)
    assert torch.equal(logits(again, data), before)
    with torch.no_grad():
        for parameter in module.quantizers["item"].parameters():
            parameter.add_(1.0)
    assert not torch.equal(logits(module, data), before)


def test_data_of_other_columns_or_moments_is_refused() -> None:
    module, data, _ = trained(discovered(family, FieldBackbone)[0], {})
    facts = data.facts()
    changed = {
        "fields": dict(reversed(facts.fields.items())),
        "numbers": ("cost",),
        "moments": {"price": (20.0, 50.0)},
    }
    for what, value in changed.items():
        with pytest.raises(UserError, match=f"the model was made for {what}"):
            module.build(facts._replace(**{what: value}))
    module.build(facts)


def test_a_table_on_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    data = ClickThroughData(planted=WORLD, planted_samples=600, memory="disk", folder=str(tmp_path))
    data.setup()
    assert list(tmp_path.iterdir()) == []
    resident = ClickThroughData(planted=WORLD, planted_samples=600)
    resident.setup()
    for ours, theirs in zip(next(iter(data.test_dataloader())), next(iter(resident.test_dataloader()))):
        assert torch.equal(ours, theirs)
