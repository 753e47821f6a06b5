"""Click-through rate backbones against plain float64 torch, sample by sample: logits, gradients of all weights."""

import re
from collections.abc import Callable
from itertools import combinations, count

import pytest
import torch
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
from lightning_vq.types import Facts, Samples

USERS, ITEMS, DIM = 5, 4, 4
ROWS = {"user": USERS, "item": ITEMS}
FIELDS = {"user": "user", "item": "item"}
TWO = Facts(ROWS, {}, {}, fields=FIELDS)
FOUR = Facts(ROWS, {}, {}, fields=FIELDS, sequences={"liked": "item"}, numbers=("age",))
IDS = [[0, 1], [4, 3], [USERS, 2], [1, ITEMS], [0, 0]]  # with a user and an item that training has not seen
LIKED = [[0, 2, 3], [1, -1, -1], [-1, -1, -1], [2, ITEMS, -1], [3, 3, 0]]  # one sample has none
AGES = [0.5, -1.0, 2.0, 0.0, 1.5]

Wide = dict[str, Tensor]
Reference = Callable[[Wide, list[Tensor]], Tensor]  # logit of one sample, first order aside


def samples(facts: Facts, liked: list[list[int]] = LIKED) -> Samples:
    size, (q, m) = len(IDS), (len(facts.sequences), len(facts.numbers))
    return Samples(
        fields=torch.tensor(IDS),
        numbers=torch.tensor(AGES)[:, None][:, :m],
        sequences=torch.tensor(liked)[:, None][:, :q],
        labels=torch.zeros(size),
        cases=torch.arange(size),
    )


def prepared(
    backbone: FieldBackbone, facts: Facts, seed: int = 0
) -> tuple[FieldBackbone, dict[str, Tensor], dict[str, Tensor]]:
    """Return the backbone with random weights, its tables and the rows outside them."""
    backbone.prepare(facts)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw))
    specs = backbone.tables()
    tables = {n: torch.randn(ROWS[s.vocab], s.dim, generator=draw).requires_grad_() for n, s in specs.items()}
    outside = {n: torch.randn(s.outside, s.dim, generator=draw).requires_grad_() for n, s in specs.items()}
    return backbone.eval(), tables, outside


def values_of(w: Wide, facts: Facts, batch: Samples, n: int, part: str) -> list[Tensor]:
    """Return what a table has for each field of sample n, times the number where the field is one."""

    def row(vocab: str, i: int) -> Tensor:
        rows = ROWS[vocab]
        return w[f"table {vocab}{part}"][i] if i < rows else w[f"outside {vocab}{part}"][i - rows]

    values = [row(vocab, int(i)) for vocab, i in zip(facts.fields.values(), batch.fields[n])]
    for vocab, ids in zip(facts.sequences.values(), batch.sequences[n].tolist()):
        some = [row(vocab, i) for i in ids if i >= 0]
        values.append(sum(some) / len(some) if some else torch.zeros_like(values[0]))
    numbers = w.get("number_weights" if part else "number_vectors")
    return values + [float(x) * numbers[m].reshape(values[0].shape) for m, x in enumerate(batch.numbers[n])]


def agrees(
    backbone: FieldBackbone, facts: Facts, reference: Reference, batch: Samples | None = None, seed: int = 0
) -> Wide:
    """Hold logits and all gradients against the reference; return its gradients by name."""
    backbone, tables, outside = prepared(backbone, facts, seed)
    batch = batch or samples(facts)
    leaves = {f"table {n}": t for n, t in tables.items()} | {f"outside {n}": t for n, t in outside.items()}
    leaves |= dict(backbone.named_parameters())
    wide = {name: leaf.detach().double().requires_grad_() for name, leaf in leaves.items()}
    logits = []
    for n in range(len(IDS)):
        logit = reference(wide, values_of(wide, facts, batch, n, ""))
        if backbone.first_order:
            logit = logit + wide["bias"] + sum(value[0] for value in values_of(wide, facts, batch, n, "_first"))
        logits.append(logit)
    expected = torch.stack(logits)
    scores = backbone(Lookup(tables, {}, outside), batch).scores
    torch.testing.assert_close(scores, expected.float(), atol=1e-5, rtol=1e-5)
    used = [name for name in leaves if leaves[name].numel()]
    ours = torch.autograd.grad(scores.sin().sum(), [leaves[name] for name in used])  # refuses what is not used
    theirs = dict(zip(used, torch.autograd.grad(expected.sin().sum(), [wide[name] for name in used])))
    for name, our in zip(used, ours):
        their = theirs[name].float()
        torch.testing.assert_close(our, their, atol=1e-5, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}")
    return theirs


# -- what the papers say ---------------------------------------------------------------------------------------------


def perceptron(w: Wide, name: str, x: Tensor) -> Tensor:
    for k in count():
        if f"{name}.layers.{k}.weight" not in w:
            return x
        x = (w[f"{name}.layers.{k}.weight"] @ x + w[f"{name}.layers.{k}.bias"]).clamp_min(0)


def pairs(vectors: list[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in combinations(vectors, 2)]).sum()


def deepfm(w: Wide, vectors: list[Tensor]) -> Tensor:
    return pairs(vectors) + w["output.weight"][0] @ perceptron(w, "deep", torch.cat(vectors))


def dcn(layers: int) -> Reference:
    def logit(w: Wide, vectors: list[Tensor]) -> Tensor:
        x0 = x = torch.cat(vectors)
        for k in range(layers):
            x = x0 * (x * w[f"cross.{k}.weight"][0]).sum() + w[f"cross_bias.{k}"] + x
        return w["output.weight"][0] @ torch.cat([x, perceptron(w, "deep", x0)])

    return logit


def fibinet(kind: str) -> Reference:
    def bilinear(w: Wide, name: str, vectors: list[Tensor]) -> list[Tensor]:
        made = []
        for i, j in combinations(range(len(vectors)), 2):
            whole = w[f"{name}.matrices.{0 if kind == 'all' else i}"]
            of_pair = whole[:, (j - i - 1) * DIM : (j - i) * DIM] if kind == "interaction" else whole
            made.append((vectors[i] @ of_pair) * vectors[j])
        return made

    def logit(w: Wide, vectors: list[Tensor]) -> Tensor:
        z = torch.stack([v.sum() / DIM for v in vectors])
        a = (w["excited.weight"] @ (w["squeezed.weight"] @ z).clamp_min(0)).clamp_min(0)
        both = bilinear(w, "raw", vectors) + bilinear(w, "weighted", [a[i] * v for i, v in enumerate(vectors)])
        return w["output.weight"][0] @ perceptron(w, "deep", torch.cat(both))

    return logit


def finalmlp(heads: int, contexts: dict[str, list[int]] | None) -> Reference:
    def logit(w: Wide, vectors: list[Tensor]) -> Tensor:
        made = {}
        for stream in ("first", "second"):
            x = torch.cat(vectors)
            if contexts is not None:
                gate = w.get(f"{stream}_gate.constant")
                if contexts[stream]:
                    context = torch.cat([vectors[i] for i in contexts[stream]])
                    hidden = perceptron(w, f"{stream}_gate.network", context)
                    gate = w[f"{stream}_gate.output.weight"] @ hidden + w[f"{stream}_gate.output.bias"]
                x = x * 2 / (1 + torch.exp(-gate))
            made[stream] = perceptron(w, stream, x)
        y = w["first_output.bias"][0]
        y = y + w["first_output.weight"][0] @ made["first"] + w["second_output.weight"][0] @ made["second"]
        for h, (a, b) in enumerate(zip(made["first"].chunk(heads), made["second"].chunk(heads))):
            y = y + a @ w["fusion"][h] @ b
        return y

    return logit


def normed(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    centred = x - x.mean()
    return gain * centred / torch.sqrt((centred**2).mean() + 1e-5) + shift


def masknet(kind: str) -> Reference:
    def block(w: Wide, k: int, v: Tensor, x: Tensor) -> Tensor:
        part = {name: w[f"mask_blocks.{k}.{name}"] for name in ("hidden.weight", "norm.weight", "norm.bias")}
        hidden = w[f"mask_blocks.{k}.aggregated.weight"] @ v + w[f"mask_blocks.{k}.aggregated.bias"]
        mask = w[f"mask_blocks.{k}.projected.weight"] @ hidden.clamp_min(0) + w[f"mask_blocks.{k}.projected.bias"]
        return normed(part["hidden.weight"] @ (mask * x), part["norm.weight"], part["norm.bias"]).clamp_min(0)

    def logit(w: Wide, vectors: list[Tensor]) -> Tensor:
        gains, shifts = w["gains"].chunk(len(vectors)), w["shifts"].chunk(len(vectors))
        v, x = torch.cat(vectors), torch.cat([normed(*of) for of in zip(vectors, gains, shifts)])
        blocks = sum(1 for name in w if re.fullmatch(r"mask_blocks\.\d\.norm\.bias", name))
        if kind == "serial":
            for k in range(blocks):
                x = block(w, k, v, x)
        else:
            x = perceptron(w, "deep", torch.cat([block(w, k, v, x) for k in range(blocks)]))
        return w["output.weight"][0] @ x + w["output.bias"][0]

    return logit


def gdcn(kind: str, layers: int) -> Reference:
    def logit(w: Wide, vectors: list[Tensor]) -> Tensor:
        c0 = c = torch.cat(vectors)
        for k in range(layers):
            gate = 1 / (1 + torch.exp(-w[f"gates.{k}.weight"] @ c))
            c = c0 * (w[f"cross.{k}.weight"] @ c + w[f"cross.{k}.bias"]) * gate + c
        last = perceptron(w, "deep", c) if kind == "stacked" else torch.cat([c, perceptron(w, "deep", c0)])
        return w["output.weight"][0] @ last + w["output.bias"][0]

    return logit


# -- whether ours say the same ---------------------------------------------------------------------------------------

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


# -- by hand ---------------------------------------------------------------------------------------------------------


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


# -- settings --------------------------------------------------------------------------------------------------------

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
