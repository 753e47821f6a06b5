"""Identities of item-to-item regression under quantizers, over all backbones that need pairs alone."""

from functools import partial
from pathlib import Path

import pytest
import torch
from discovery import discovered
from lightning.pytorch.callbacks import ModelCheckpoint
from relevances import QUANTIZERS, fitted, raw_scores, relevance
from small import weights

import lightning_vq.backbones.collaborative as family
from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.gmf import GMF
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.data.splits import TEST
from lightning_vq.errors import UserError
from lightning_vq.modules import Recommender, RelevanceRegression
from lightning_vq.quantizers import DPQ, MGQE, Cascaded, LowRank, Quantizer, Scalar

PAIRS = [kind for kind in discovered(family, Backbone) if kind.needs == {"pairs"}]
NOTHING = partial(Cascaded, codebook_sizes=[12, 4], alpha=0.0)
REPLACING = {
    "dpq": partial(DPQ, subspaces=4, centroids=8),
    "mgqe": partial(MGQE, centroids=[8, 4], subspaces=[4, 4]),
    "low rank": partial(LowRank, rank=4),
    "scalar": partial(Scalar, bits_each=8),
}


def test_there_are_several() -> None:
    assert {kind.__name__ for kind in PAIRS} == {"BPRMF", "GMF", "NeuMF"}


@pytest.mark.parametrize("kind", PAIRS)
def test_no_weight_on_quantization_is_bit_equal_to_the_base_model(kind: type[Backbone]) -> None:
    base, _ = fitted(relevance(), backbone=partial(kind, dim=8))
    quantized, _ = fitted(relevance(), {"user": NOTHING, "item": NOTHING}, partial(kind, dim=8), omega_q=0.0)
    assert set(quantized.quantizers) == {name for name, spec in base.specs.items() if spec.quantizable}
    ours = weights(quantized)
    for name, value in weights(base).items():
        assert torch.equal(value, ours[name]), name


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("vocab", ["user", "item"])
def test_a_changed_codebook_changes_predictions_and_a_checkpoint_keeps_them(
    kind: type[Backbone], vocab: str, tmp_path: Path
) -> None:
    saving = ModelCheckpoint(tmp_path, "whole", save_on_train_epoch_end=True)
    held = relevance()
    module, _ = fitted(held, {vocab: QUANTIZERS[vocab]}, partial(kind, dim=8), epochs=1, callbacks=[saving])
    before = raw_scores(module, held.pairs(TEST))
    again = Recommender.load_from_checkpoint(tmp_path / "whole.ckpt")
    assert isinstance(again, RelevanceRegression)
    assert again.facts is not None
    assert again.facts.moments["score"] == pytest.approx(held.moments)
    assert torch.equal(raw_scores(again, held.pairs(TEST)), before)
    with torch.no_grad():
        for name in module.quantizers:
            for parameter in module.quantizers[name].parameters():
                parameter.mul_(-3.0)
    assert not torch.equal(raw_scores(module, held.pairs(TEST)), before)


@pytest.mark.parametrize("factory", REPLACING.values(), ids=REPLACING)
def test_codes_in_place_of_vectors_are_what_is_scored(factory: type[Quantizer], tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path, "one", save_on_train_epoch_end=True)
    held = relevance()
    module, trainer = fitted(held, {"user": factory, "item": factory}, epochs=3, callbacks=[saving])
    (found,) = trainer.test(module, datamodule=held, verbose=False)
    opened = Recommender.load_from_checkpoint(tmp_path / "one.ckpt")
    assert isinstance(opened, RelevanceRegression)
    pairs = held.pairs(TEST)
    vectors = {}
    for name in ("user", "item"):
        quantizer, ids = opened.quantizers[name], torch.arange(held.facts().rows[name])
        table = opened.tables[name] if quantizer.keeps_table else torch.zeros(len(ids), 8)
        assert isinstance(quantizer, Quantizer)
        vectors[name] = quantizer.decode(quantizer.encode(table, ids), ids).double()
    assert isinstance(opened.backbone, GMF)
    product = (vectors["user"][pairs.users] * opened.backbone.output.double() * vectors["item"][pairs.items]).sum(1)
    mean, deviation = held.moments
    error = mean + deviation * product - pairs.scores
    assert found["test/rmse"] == pytest.approx(error.square().mean().sqrt().item(), rel=1e-5)


def test_other_scores_are_other_data() -> None:
    held = relevance()
    module, _ = fitted(held, epochs=1)
    facts = held.facts()
    mean, deviation = facts.moments["score"]
    with pytest.raises(UserError, match="the model was made for moments"):
        module.build(facts._replace(moments={"score": (mean + 1, deviation)}))
    module.build(facts)


def test_codes_are_no_lists() -> None:
    module, _ = fitted(relevance(), epochs=1)
    with pytest.raises(UserError, match="GMF predicts no items of lists"):
        QuantizationCallback(QUANTIZERS, omega_c=1.0).attach(module)
