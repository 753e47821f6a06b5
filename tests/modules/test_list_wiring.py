"""What a training of lists wires together: pseudo-labels of targets, the curriculum, the learning rate's rise."""

from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from small_lists import lists, trained
from torch.nn.functional import log_softmax

from lightning_vq.backbones.list_completion.fans import FANS
from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.quantizers import Cascaded

SIZES = [12, 4]
TREE = {"item": partial(Cascaded, codebook_sizes=SIZES)}


class Watch(Callback):
    """Records at the end of each step what `ask` tells."""

    def __init__(self, ask: Any) -> None:
        self.ask, self.told = ask, list[Any]()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.told.append(self.ask(trainer, pl_module))


def test_each_position_is_told_the_codes_of_its_own_target() -> None:
    module, _ = trained(SASRec(dim=8, layers=1, heads=2), TREE, omega_c=0.5)
    held = lists()
    held.setup()
    [batch] = next(iter(held.train_dataloader())).batches()
    [hook] = [one for one in module.trainer.callbacks if isinstance(one, QuantizationCallback)]
    module.eval()  # no dropout: the same vectors twice
    loss = module.step_losses(batch, [hook])["classification"]
    output = module.backbone(module.lookup(), batch)
    assert output.targets is not None
    assert output.hidden is not None
    codes = module.quantizers["item"].encode(module.table("item").weight, torch.arange(60))
    expected = 0.0
    for level, head in enumerate(module.classifiers["item"].heads):
        for vector, target in zip(output.hidden.double(), output.targets.tolist()):
            scores = head.weight.double() @ vector + head.bias.double()
            expected -= log_softmax(scores, 0)[codes[target, level]].item() / len(output.targets) / len(SIZES)
    assert loss.item() == pytest.approx(0.5 * expected, rel=1e-5)
    assert len(codes.unique(dim=0)) > 3  # the wrong target's codes would be others

    loss.backward()
    for name, moved in (("backbone.blocks", True), ("classifiers", True), ("quantizers", False)):
        found = [p.grad for key, p in module.named_parameters() if key.startswith(name) and p.grad is not None]
        assert any(bool(grad.any()) for grad in found) == moved, name


@pytest.mark.parametrize(
    ("epochs", "limits", "expected"),
    [
        (4, {}, [0, 0, 0, 1 / 4, 1 / 4, 1 / 4, 2 / 4, 2 / 4, 2 / 4, 3 / 4, 3 / 4, 3 / 4]),
        (-1, {"max_steps": 6}, [step / 6 for step in range(6)]),
        (1000, {"max_steps": 6}, [step / 6 for step in range(6)]),
    ],
)
def test_the_curriculum_follows_what_ends_the_training(
    epochs: int, limits: dict[str, int], expected: list[float]
) -> None:
    watch = Watch(lambda _, module: module.backbone.progress)
    trained(FANS(dim=8, layers=1, heads=2), {}, epochs=epochs, callbacks=[watch], ranks=limits)
    assert watch.told == pytest.approx(expected)


def test_the_learning_rate_rises() -> None:
    watch = Watch(lambda trainer, _: trainer.optimizers[0].param_groups[0]["lr"])
    trained(SASRec(dim=8, layers=1, heads=2), {}, epochs=2, callbacks=[watch], warmup_steps=4)
    # of the step to come: the first was made at a quarter
    assert watch.told == pytest.approx([2.5e-3 * min(4, step + 2) for step in range(6)])


def test_one_list_and_one_candidate() -> None:
    held = lists(ratio=(0.97, 0.015, 0.015))
    module, trainer = trained(SASRec(dim=8, layers=1, heads=2), {}, held, ks=(1,))
    trainer.test(module, datamodule=held, verbose=False)
    assert module.completions is not None
    assert module.completions.candidates.shape == (1, 1)
    assert module.completions.lengths.shape == (1,)
