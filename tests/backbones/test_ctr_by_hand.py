"""Click-through rate backbones against cases worked by hand."""

import pytest
import torch
from field_samples import TWO

from lightning_vq.backbones.ctr.dcn import DCN
from lightning_vq.backbones.ctr.deepfm import DeepFM
from lightning_vq.backbones.ctr.fm import FM
from lightning_vq.backbones.fields import FieldBackbone
from lightning_vq.lookup import Lookup
from lightning_vq.types import Samples


def filled(backbone: FieldBackbone, **values: float | list) -> FieldBackbone:
    """Return the backbone with every parameter at zero but those named."""
    backbone.prepare(TWO)
    parameters = dict(backbone.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.tensor(values.pop(name.replace(".", "_"), 0.0)).expand_as(parameter))
    assert not values
    return backbone.eval()


# max(0, 1 + 2 + 3 - 1 - 4) = 1, times -2
PERCEPTRON = {"deep_layers_0_weight": 1.0, "deep_layers_0_bias": -4.0, "output_weight": -2.0}


@pytest.mark.parametrize(
    ("backbone", "extra"),
    [(filled(FM(2), bias=0.1), 0.0), (filled(DeepFM(2, (1,)), bias=0.1, **PERCEPTRON), -2.0)],
    ids=["FM", "DeepFM"],
)
def test_factorization_machines_by_hand(backbone: FieldBackbone, extra: float) -> None:
    # (1, 2) . (3, -1) = 1, weights 0.5 - 0.25, bias 0.1
    vectors = {"user": torch.tensor([[1.0, 2.0]]), "item": torch.tensor([[9.0, 9.0], [3.0, -1.0]])}
    weights = {"user_first": torch.tensor([[0.5]]), "item_first": torch.tensor([[7.0], [-0.25]])}
    one = Samples(torch.tensor([[0, 1]]), torch.zeros(1, 0), torch.zeros(1, 0, 0).long(), torch.ones(1), torch.zeros(1))
    scores = backbone(Lookup(vectors | weights, {}), one).scores
    torch.testing.assert_close(scores, torch.tensor([1.35 + extra]))


def test_cross_layer_by_hand() -> None:
    # x_0 = (1, 2), x_0 . w = 3 - 2 = 1, x_1 = x_0 + (0.5, -1) + x_0 = (2.5, 3), and 10 * 2.5 + 1 * 3 = 28
    cross = {"cross_0_weight": [3.0, -1.0], "cross_bias_0": [0.5, -1.0]}
    backbone = filled(DCN(1, 1, (1,)), **cross, output_weight=[10.0, 1.0, 5.0])
    torch.testing.assert_close(backbone.logits(torch.tensor([[[1.0], [2.0]]])), torch.tensor([28.0]))
