"""Settings of click-through rate backbones: a checkpoint has all of them, and those that cannot be are refused."""

from collections.abc import Callable

import pytest
import torch
from field_samples import FOUR, ROWS, prepared, samples
from torch import Tensor

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.ctr.dcn import DCN
from lightning_vq.backbones.ctr.deepfm import DeepFM
from lightning_vq.backbones.ctr.fibinet import FiBiNET
from lightning_vq.backbones.ctr.finalmlp import FinalMLP
from lightning_vq.backbones.ctr.fm import FM
from lightning_vq.backbones.ctr.gdcn import GDCN
from lightning_vq.backbones.ctr.masknet import MaskNet
from lightning_vq.backbones.fields import FieldBackbone
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.specs import construct, describe
from lightning_vq.types import Facts

OTHER = [
    FM(8),
    DeepFM(8, (6,), 0.5),
    DCN(8, 1, (6,), 0.5),
    FiBiNET(8, "each", 2, (6,), 0.5),
    FinalMLP(8, (6,), (9,), 3, True, ("user",), ("item", "age"), (7,), 0.5),
    FinalMLP(8, (6,), (9,), 3, False, dropout=0.5),
    MaskNet(8, "serial", 0.5, (6,), 2, 5, 0.5),
    MaskNet(8, "parallel", 0.5, (6,), 2, 5, 0.5),
    GDCN(8, "stacked", 2, (6,), 0.5),
    GDCN(8, "parallel", 2, (6,), 0.5),
]


@pytest.mark.parametrize("backbone", OTHER, ids=lambda backbone: type(backbone).__name__)
def test_a_checkpoint_describes_it(backbone: FieldBackbone) -> None:
    spec = describe(backbone)
    assert describe(construct(spec, Backbone)) == spec
    assert spec["init_args"]["dim"] == 8


@pytest.mark.parametrize("backbone", OTHER, ids=lambda backbone: type(backbone).__name__)
def test_dropout_is_for_training_alone(backbone: FieldBackbone) -> None:
    backbone, tables, outside = prepared(construct(describe(backbone), FieldBackbone), FOUR)
    batch = samples(FOUR)

    def scores() -> Tensor:
        return backbone(Lookup(tables, {}, outside), batch).scores

    assert torch.equal(scores(), scores())
    backbone.train()
    torch.manual_seed(0)
    assert torch.equal(scores(), scores()) == isinstance(backbone, FM)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FM(0), "dim is 0"),
        (lambda: DeepFM(hidden=()), "hidden is []"),
        (lambda: DeepFM(dropout=1.0), "dropout is 1.0"),
        (lambda: DCN(cross_layers=-1), "cross_layers is -1"),
        (lambda: FiBiNET(bilinear="some"), "bilinear is 'some'"),
        (lambda: FiBiNET(reduction=0), "reduction is 0"),
        (lambda: FiBiNET(hidden=(5, 0)), "hidden is [5, 0]"),
        (lambda: FiBiNET().prepare(Facts(ROWS, {}, {}, fields={"user": "user"})), "one field alone"),
        (lambda: FinalMLP(heads=3), "heads is 3"),
        (lambda: FinalMLP(heads=0), "heads is 0"),
        (lambda: FinalMLP(second_hidden=()), "second_hidden is []"),
        (lambda: FinalMLP(gate_hidden=(0,)), "gate_hidden is [0]"),
        (lambda: FinalMLP(gated=False, first_context=("user",)), "gated is false"),
        (
            lambda: FinalMLP(second_context=("town", "age")).prepare(FOUR),
            "names town; the fields are user, item, liked",
        ),
        (lambda: MaskNet(kind="both"), "kind is 'both'"),
        (lambda: MaskNet(ratio=0.0), "ratio is 0.0"),
        (lambda: MaskNet(blocks=0), "blocks is 0"),
        (lambda: MaskNet(dropout=-0.1), "dropout is -0.1"),
        (lambda: GDCN(kind="serial"), "kind is 'serial'"),
        (lambda: GDCN(cross_layers=-2), "cross_layers is -2"),
    ],
)
def test_what_cannot_be(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError) as error:
        make()
    assert message in str(error.value)
