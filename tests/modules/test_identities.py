"""Identities that every implementation must satisfy, over every backbone that there is."""

from functools import partial

import pytest
import torch
from discovery import discovered
from small import cascaded, data, trained, weights

import lightning_vq.backbones.collaborative as family
from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.losses import candidate_scores
from lightning_vq.quantizers import Cascaded
from lightning_vq.types import EvalBatch, Pairs


def made(kind: type[Backbone]) -> Backbone:
    """Return a backbone whose own weights are always the same."""
    torch.manual_seed(1)
    return kind()


@pytest.mark.parametrize("kind", discovered(family, Backbone))
def test_no_weight_on_quantization_is_bit_equal_to_the_base_model(kind: type[Backbone]) -> None:
    factory = partial(Cascaded, codebook_sizes=[12, 4], alpha=0.0)
    base, _ = trained(made(kind), {})
    quantized, _ = trained(made(kind), {"user": factory, "item": factory}, omega_q=0.0)
    assert set(quantized.quantizers) == {name for name, spec in base.specs.items() if spec.quantizable}
    for name, value in weights(base).items():
        assert torch.equal(value, weights(quantized)[name]), name


@pytest.mark.parametrize("kind", discovered(family, Backbone))
def test_training_with_quantizers_differs(kind: type[Backbone]) -> None:
    base, _ = trained(made(kind), {}, epochs=1)
    quantized, _ = trained(made(kind), {"item": cascaded}, epochs=1)
    assert not torch.equal(base.tables["item"], quantized.tables["item"])
    assert not torch.equal(base.tables["user"], quantized.tables["user"])


def test_lightgcn_without_layers_is_matrix_factorization() -> None:
    flat, _ = trained(LightGCN(layers=0), {"item": cascaded})
    plain, _ = trained(BPRMF(item_bias=False, init="xavier"), {"item": cascaded})
    users, items = torch.arange(5), torch.arange(20).view(5, 4)
    flat_scores = candidate_scores(flat.backbone(flat.lookup(), Pairs(users, items)))
    # The losses of LightGCN weigh every row alike, those of BPRMF the rows of the batch: compare without them.
    flat_free, _ = trained(LightGCN(layers=0), {"item": cascaded}, omega_q=0.0)
    plain_free, _ = trained(BPRMF(item_bias=False, init="xavier"), {"item": cascaded}, omega_q=0.0)
    for name in ("user", "item"):
        torch.testing.assert_close(flat_free.tables[name], plain_free.tables[name], atol=1e-5, rtol=1e-4)
    plain.load_state_dict(flat.state_dict())
    torch.testing.assert_close(candidate_scores(plain.backbone(plain.lookup(), Pairs(users, items))), flat_scores)


@pytest.mark.parametrize("kind", discovered(family, Backbone))
@pytest.mark.parametrize("vocab", ["user", "item"])
def test_a_changed_codebook_changes_every_score_path(kind: type[Backbone], vocab: str) -> None:
    module, _ = trained(kind(), {vocab: cascaded}, epochs=1)
    module.eval()
    held = data()
    held.setup()
    batch = next(iter(held.test_dataloader()))
    assert batch.candidates is not None
    rows = torch.arange(6)
    predict = EvalBatch(rows, rows[:0], rows[:0], rows[:0], (torch.zeros(1, dtype=torch.long),) * 2, None)

    @torch.no_grad()
    def paths() -> list[torch.Tensor]:
        items = torch.cat([batch.positives[:, None], batch.candidates], dim=1)
        training = candidate_scores(module.backbone(module.lookup(), Pairs(batch.users, items)))
        module.on_predict_epoch_start()
        return [training, module.score_all(module.lookup(), batch), module.predict_step(predict, 0)[2]]

    before = paths()
    with torch.no_grad():
        for book in module.quantizers[vocab].parameters():
            book.mul_(3.0).add_(torch.randn_like(book))
    for old, new in zip(before, paths()):
        assert not torch.allclose(old, new)


@pytest.mark.parametrize("kind", discovered(family, Backbone))
def test_scores_of_candidates_and_of_every_item_agree(kind: type[Backbone]) -> None:
    module, _ = trained(kind(), {"item": cascaded, "user": cascaded}, epochs=1)
    module.eval()
    held = data()
    held.setup()
    batch = next(iter(held.test_dataloader()))
    with torch.no_grad():
        whole = module.score_all(module.lookup(), batch._replace(seen=(torch.zeros(0, dtype=torch.long),) * 2))
        some = candidate_scores(module.backbone(module.lookup(), Pairs(batch.users, batch.candidates)))
    torch.testing.assert_close(whole.gather(1, batch.candidates), some, atol=1e-5, rtol=1e-5)
