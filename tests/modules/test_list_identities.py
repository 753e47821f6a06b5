"""Identities that every list backbone must satisfy, over all that there are."""

import inspect
from functools import partial
from pathlib import Path

import pytest
import torch
from discovery import discovered
from small import cascaded, data
from small_lists import lists, trained

import lightning_vq.backbones.list_completion as family
from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.lists import ListBackbone
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.errors import UserError
from lightning_vq.modules import CollaborativeFiltering, ListCompletion, Recommender
from lightning_vq.modules.decoding import given, next_hidden
from lightning_vq.quantizers import DPQ, Cascaded

KINDS = discovered(family, ListBackbone)  # type: ignore[type-abstract]
TREE = {"item": partial(Cascaded, codebook_sizes=[12, 4])}


def made(kind: type[ListBackbone], **options: bool) -> ListBackbone:
    """Return a narrow backbone whose own weights are always the same."""
    torch.manual_seed(1)
    narrow = {"layers": 1, "heads": 2}
    return kind(dim=8, **{k: v for k, v in narrow.items() if k in inspect.signature(kind).parameters}, **options)


@torch.no_grad()
def told(module: Recommender) -> torch.Tensor:
    """Return what the test lists make of their next item."""
    module.eval()
    held = lists()
    held.setup()
    found = []
    for batch in held.test_dataloader():
        inputs, _ = given(batch.items, batch.known)
        look = module.lookup()
        module.backbone.keys(look)
        found.append(next_hidden(module.backbone, look, inputs))
    return torch.cat(found)


@pytest.mark.parametrize("kind", KINDS)
def test_no_weight_on_quantization_is_bit_equal_to_the_base_model(kind: type[ListBackbone]) -> None:
    base, _ = trained(made(kind), {})
    tree = {"item": partial(Cascaded, codebook_sizes=[12, 4], alpha=0.0)}
    quantized, _ = trained(made(kind), tree, omega_q=0.0, omega_c=0.0)
    assert list(quantized.quantizers) == ["item"]
    ours = quantized.state_dict()
    for name, value in base.state_dict().items():
        assert torch.equal(value, ours[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_opens_alone_and_a_changed_codebook_changes_predictions(
    kind: type[ListBackbone], tmp_path: Path
) -> None:
    module, trainer = trained(made(kind), TREE, omega_c=0.5)
    before = told(module)
    trainer.save_checkpoint(tmp_path / "whole.ckpt")
    again = Recommender.load_from_checkpoint(tmp_path / "whole.ckpt")
    assert isinstance(again, ListCompletion)
    assert set(again.state_dict()) == set(module.state_dict())  # the classifiers with it
    assert torch.equal(told(again), before)
    with torch.no_grad():
        for parameter in module.quantizers["item"].parameters():
            parameter.add_(torch.randn_like(parameter))
    assert not torch.equal(told(module), before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("loss", "negatives"), [("softmax", 0), ("bce", 1), ("sampled_softmax", 5)])
def test_every_parameter_learns_under_every_loss(
    kind: type[ListBackbone], tied: bool, loss: str, negatives: int
) -> None:
    module, _ = trained(made(kind, tied=tied), TREE, lists(negatives=negatives), omega_c=1.0, loss=loss)
    fresh = made(kind, tied=tied).state_dict()
    moved = {name.removeprefix("backbone."): value for name, value in module.state_dict().items()}
    for name, value in fresh.items():
        assert not torch.equal(value, moved[name]), name


def test_the_classification_loss_by_hand() -> None:
    """Of one level and a head of zeros the cross-entropy is the logarithm of how many codes there are."""
    module, _ = trained(made(KINDS[0]), {"item": partial(Cascaded, codebook_sizes=[12])}, omega_c=1.0)
    held = lists()
    held.setup()
    for head in module.classifiers["item"].parameters():
        torch.nn.init.zeros_(head)
    [batch] = next(iter(held.train_dataloader())).batches()
    [hook] = [callback for callback in module.trainer.callbacks if hasattr(callback, "omega_c")]
    for omega in (1.0, 0.25):
        hook.omega_c = omega
        assert module.step_losses(batch, [hook])["classification"].item() == pytest.approx(omega * 2.4849066)  # log 12


def test_what_cannot_be() -> None:
    backbone = made(KINDS[0])
    with pytest.raises(UserError, match="negatives is 0, with the loss 'bce' it must be at least 1"):
        trained(backbone, {}, loss="bce")
    with pytest.raises(UserError, match="negatives is 3, with the loss 'softmax' all items compete: it must be 0"):
        trained(backbone, {}, lists(negatives=3))
    with pytest.raises(UserError, match="continues lists by a ListBackbone, not by BPRMF"):
        ListCompletion(BPRMF())
    with pytest.raises(UserError, match="warmup_steps is -1; it must be at least 0"):
        ListCompletion(backbone, warmup_steps=-1)
    with pytest.raises(UserError, match="trained on CollaborativeData, not ListData"):
        CollaborativeFiltering(backbone).check(lists())


def test_tree_classification_is_of_models_of_lists() -> None:
    module = CollaborativeFiltering(BPRMF(dim=8))
    pairs = data()
    pairs.setup("fit")
    module.build(pairs.facts())
    with pytest.raises(UserError, match=r"omega_c is 1\.0, but BPRMF predicts no items of lists"):
        QuantizationCallback({"item": cascaded}, omega_c=1.0).attach(module)


def test_other_quantizers_go_on_lists() -> None:
    module, _ = trained(made(KINDS[0]), {"item": partial(DPQ, subspaces=4, centroids=8)}, omega_c=1.0)
    assert [head.out_features for head in module.classifiers["item"].heads] == [8] * 4


def test_a_whole_history_is_left_out_whatever_is_shown_of_it() -> None:
    module, _ = trained(made(KINDS[0]), {}, lists(protocol="next", max_length=2))
    held = lists(protocol="next", max_length=2)
    held.setup()
    assert held.raw is not None
    module.eval()
    module.look = module.lookup()
    for batch in held.test_dataloader():
        inputs, targets = given(batch.items, batch.known)
        scores = module._scores(inputs, batch.seen, but=targets[:, 0])
        for case, row, target in zip(batch.cases.tolist(), scores, targets[:, 0].tolist()):
            history = set(held.raw.items[held.raw.starts[case] : held.raw.starts[case + 1] - 1].tolist())
            assert set(torch.isinf(row).nonzero()[:, 0].tolist()) == history - {target}


def test_checkpoints_of_other_lengths_or_without_classifiers_are_refused(tmp_path: Path) -> None:
    _, trainer = trained(made(KINDS[0]), TREE, lists(protocol="next", max_length=4))
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    longer = trained(made(KINDS[0]), TREE, lists(protocol="next", max_length=6))[0]
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    with pytest.raises(
        UserError, match=r"lists of up to 5 items, the data has some of 7: see data\.init_args\.max_length"
    ):
        longer.on_load_checkpoint(saved)
    classed = trained(made(KINDS[0]), TREE, lists(protocol="next", max_length=4), omega_c=1.0)[0]
    with pytest.raises(UserError, match=r"no tree classifier, which quantization\.omega_c asks for"):
        classed.on_load_checkpoint(saved)
