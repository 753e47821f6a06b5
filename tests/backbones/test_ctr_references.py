"""Click-through rate backbones against plain float64 torch, sample by sample: logits, gradients of all weights."""

import pytest
from ctr_formulas import dcn, deepfm, fibinet, finalmlp, gdcn, masknet, pairs
from field_samples import DIM, FOUR, IDS, TWO, agrees, samples

from lightning_vq.backbones.ctr.dcn import DCN
from lightning_vq.backbones.ctr.deepfm import DeepFM
from lightning_vq.backbones.ctr.fibinet import FiBiNET
from lightning_vq.backbones.ctr.finalmlp import FinalMLP
from lightning_vq.backbones.ctr.fm import FM
from lightning_vq.backbones.ctr.gdcn import GDCN
from lightning_vq.backbones.ctr.masknet import MaskNet
from lightning_vq.types import Facts

both = pytest.mark.parametrize("facts", [TWO, FOUR], ids=["2 fields", "4 fields"])


@both
def test_fm(facts: Facts) -> None:
    agrees(FM(DIM), facts, lambda _, vectors: pairs(vectors))


@both
@pytest.mark.parametrize("hidden", [(6,), (6, 5)])
def test_deepfm(facts: Facts, hidden: tuple[int, ...]) -> None:
    agrees(DeepFM(DIM, hidden), facts, deepfm)


@both
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_dcn(facts: Facts, layers: int) -> None:
    agrees(DCN(DIM, layers, (6, 5)), facts, dcn(layers))


@both
@pytest.mark.parametrize("kind", ["all", "each", "interaction"])
def test_fibinet(facts: Facts, kind: str) -> None:
    gradients = agrees(FiBiNET(DIM, kind, 2, (6, 5)), facts, fibinet(kind), seed=9)  # type: ignore[arg-type]
    assert gradients["squeezed.weight"].any()  # the seed is one of those at which SENET lets something through


def test_fibinet_starts_with_no_field_shut_out() -> None:
    backbone = FiBiNET(DIM, reduction=3, hidden=(6,))
    backbone.prepare(TWO)
    assert backbone.squeezed.weight.shape == (1, 2)  # one unit at least
    assert (backbone.excited.weight > 0).all()


@both
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_finalmlp_of_constant_gates(facts: Facts, heads: int) -> None:
    agrees(FinalMLP(DIM, (7, 6), (12,), heads), facts, finalmlp(heads, {"first": [], "second": []}))


def test_finalmlp_without_gates() -> None:
    agrees(FinalMLP(DIM, (6,), (6,), 2, gated=False), FOUR, finalmlp(2, None))


def test_finalmlp_of_gates_by_context() -> None:
    backbone = FinalMLP(DIM, (6,), (4,), 2, first_context=("user",), second_context=("age", "liked"), gate_hidden=(5,))
    agrees(backbone, FOUR, finalmlp(2, {"first": [0], "second": [3, 2]}))
    backbone = FinalMLP(DIM, (6,), (4,), 2, second_context=("item",), gate_hidden=(5, 3))
    agrees(backbone, TWO, finalmlp(2, {"first": [], "second": [1]}))


@both
@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_masknet_serial(facts: Facts, ratio: float) -> None:
    agrees(MaskNet(DIM, "serial", ratio, (6, 5)), facts, masknet("serial"))


@both
@pytest.mark.parametrize("blocks", [1, 3])
def test_masknet_parallel(facts: Facts, blocks: int) -> None:
    agrees(MaskNet(DIM, "parallel", 1.5, (6, 5), blocks, 3), facts, masknet("parallel"))


@both
@pytest.mark.parametrize("kind", ["parallel", "stacked"])
@pytest.mark.parametrize("layers", [0, 2])
def test_gdcn(facts: Facts, kind: str, layers: int) -> None:
    agrees(GDCN(DIM, kind, layers, (6, 5)), facts, gdcn(kind, layers))  # type: ignore[arg-type]


def test_nobody_likes_anything() -> None:
    batch = samples(FOUR, [[-1, -1]] * len(IDS))
    agrees(DeepFM(DIM, (6,)), FOUR, deepfm, batch)
    agrees(MaskNet(DIM, "serial", 1.0, (6,)), FOUR, masknet("serial"), batch)
