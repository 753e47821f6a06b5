"""List completion backbones against plain float64 torch, list by list: hidden vectors, gradients of all weights."""

import math
from collections.abc import Callable

import pytest
import torch
from listed import DIM, FACTS, ITEMS, RAGGED, World, lists
from torch import Tensor

import lightning_vq.backbones.list_completion.bert4rec as bert4rec_file
from lightning_vq.backbones.list_completion.bert4rec import BERT4Rec
from lightning_vq.backbones.list_completion.car import CAR
from lightning_vq.backbones.list_completion.caser import Caser
from lightning_vq.backbones.list_completion.fans import FANS
from lightning_vq.backbones.list_completion.gru4rec import GRU4Rec
from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.errors import UserError
from lightning_vq.losses import all_scores, candidate_scores
from lightning_vq.types import Output

Wide = dict[str, Tensor]
Reference = Callable[[Wide, list[int]], list[Tensor]]  # what each item of a list, and those before it, predict


def agree(world: World, wide: Wide, ours: Tensor, theirs: Tensor) -> None:
    """Hold values and the gradients of everything that learns against the reference's."""
    torch.testing.assert_close(ours, theirs.float(), atol=1e-5, rtol=1e-5)
    leaves = world.leaves()
    our = torch.autograd.grad(ours.sin().sum(), list(leaves.values()))  # refuses what is not used
    their = torch.autograd.grad(theirs.sin().sum(), list(wide.values()))
    for name, a, b in zip(leaves, our, their):
        torch.testing.assert_close(a, b.float(), atol=1e-5, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}")


def wide_of(world: World) -> Wide:
    return {name: leaf.detach().double().requires_grad_() for name, leaf in world.leaves().items()}


def scored(wide: Wide, hidden: Tensor, tied: bool, item: int) -> Tensor:
    score = hidden @ wide["table item" if tied else "table item_output"][item]
    return score + wide["table item_bias"][item, 0] if "table item_bias" in wide else score


def agrees(world: World, reference: Reference, creators: Tensor | None = None) -> None:
    """Hold what a causal backbone makes of every item of ragged lists, and all scores, against the reference."""
    wide = wide_of(world)
    theirs, targets = [], []
    for one in RAGGED:
        theirs += reference(wide, one[:-1])
        targets += one[1:]
    output = world.backbone(world.look(), lists(RAGGED)._replace(creators=creators))
    assert output.targets.tolist() == targets
    torch.testing.assert_close(output.hidden, torch.stack(theirs).float(), atol=1e-5, rtol=1e-5)
    scores = [torch.stack([scored(wide, h, world.backbone.tied, i) for i in range(ITEMS)]) for h in theirs]
    agree(world, wide, all_scores(output), torch.stack(scores))


# -- what the papers say ---------------------------------------------------------------------------------------------


def normed(w: Wide, name: str, x: Tensor, eps: float) -> Tensor:
    centred = x - x.mean()
    return w[f"{name}.weight"] * centred / torch.sqrt((centred**2).mean() + eps) + w[f"{name}.bias"]


def layer(w: Wide, name: str, x: Tensor) -> Tensor:
    return w[f"{name}.weight"] @ x + w[f"{name}.bias"]


def attention(queries: Tensor, keys: list[Tensor], values: list[Tensor], heads: int) -> Tensor:
    """Return what one query (D) gets of keys and values (D), head by head."""
    made = []
    for part in torch.arange(len(queries)).chunk(heads):
        odds = torch.stack([(queries[part] * key[part]).sum() / math.sqrt(len(part)) for key in keys]).exp()
        made.append(sum(o * value[part] for o, value in zip(odds / odds.sum(), values)))
    return torch.cat(made)


def sasrec(layers: int, heads: int) -> Reference:
    def made(w: Wide, ids: list[int]) -> list[Tensor]:
        xs = [w["table item"][i] * math.sqrt(DIM) + w["positions"][t] for t, i in enumerate(ids)]
        for k in range(layers):
            name, after = f"blocks.{k}", []
            for t, x in enumerate(xs):
                normal = normed(w, f"{name}.query_norm", x, 1e-8)
                keys = [layer(w, f"{name}.keys", before) for before in xs[: t + 1]]
                values = [layer(w, f"{name}.values", before) for before in xs[: t + 1]]
                a = normal + attention(layer(w, f"{name}.queries", normal), keys, values, heads)
                a = normed(w, f"{name}.norm", a, 1e-8)
                inner = layer(w, f"{name}.network.inner", a).clamp_min(0)
                after.append(a + layer(w, f"{name}.network.outer", inner))
            xs = after
        return [normed(w, "norm", x, 1e-8) for x in xs]

    return made


def car(layers: int, heads: int, creators: dict[int, int] | None = None) -> Reference:
    """Return the reference; creators: first item of a list -> who made it, for those that are known."""

    def made(w: Wide, ids: list[int]) -> list[Tensor]:
        xs = [w["table item"][i] * math.sqrt(DIM) + w["positions"][t] for t, i in enumerate(ids)]
        for k in range(layers):
            name, after = f"blocks.{k}", []
            for t, x in enumerate(xs):
                normal, before = normed(w, f"{name}.query_norm", x, 1e-8), xs[: t + 1]
                queries = {"current": layer(w, f"{name}.queries", normal)}
                queries |= {"general": w[f"{name}.general"], "list": w[f"{name}.whole"]}
                seen = {
                    n: attention(q, [layer(w, f"{name}.{n}_keys", b) for b in before], before, heads)
                    for n, q in queries.items()
                }
                away = (x - sum(before) / len(before)).abs()
                odds = layer(w, f"{name}.gate", torch.cat([seen["list"], away])).exp()
                odds = odds / odds.sum()
                mixed = odds[0] * seen["current"] + odds[1] * seen["general"] + odds[2] * normal
                if creators and ids[0] in creators:
                    mixed = mixed + math.sqrt(DIM) * w["table creator"][creators[ids[0]]]
                m = normed(w, f"{name}.norm", mixed, 1e-8)
                inner = layer(w, f"{name}.network.inner", m).clamp_min(0)
                after.append(m + layer(w, f"{name}.network.outer", inner))
            xs = after
        return [normed(w, "norm", x, 1e-8) for x in xs]

    return made


def gru4rec(layers: int) -> Reference:
    def made(w: Wide, ids: list[int]) -> list[Tensor]:
        xs = [w["table item"][i] for i in ids]
        for k in range(layers):
            part = {n: w[f"units.{k}.{n}_l0"].chunk(3) for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
            h = torch.zeros(len(part["bias_hh"][0])).double()
            after = []
            for x in xs:
                of_x = [m @ x + b for m, b in zip(part["weight_ih"], part["bias_ih"])]
                of_h = [m @ h + b for m, b in zip(part["weight_hh"], part["bias_hh"])]
                reset, update = (1 / (1 + torch.exp(-of_x[g] - of_h[g])) for g in (0, 1))
                h = (1 - update) * torch.tanh(of_x[2] + reset * of_h[2]) + update * h
                after.append(h)
            xs = after
        return [layer(w, "output", x) for x in xs] if "output.weight" in w else xs

    return made


def caser(window: int) -> Reference:
    def made(w: Wide, ids: list[int]) -> list[Tensor]:
        predicted = []
        for t in range(1, len(ids) + 1):
            rows = [w["table item"][i] for i in ids[max(0, t - window) : t]]
            rows = [torch.zeros(DIM).double()] * (window - len(rows)) + rows
            down = torch.stack([layer(w, "columns", torch.stack([row[d] for row in rows])) for d in range(DIM)])
            across = []
            for h in range(1, window + 1):
                filters, bias = w[f"rows.{h - 1}.weight"], w[f"rows.{h - 1}.bias"]  # (O, D, h), (O,)
                places = [
                    sum(filters[:, :, j] @ rows[start + j] for j in range(h)) + bias for start in range(window - h + 1)
                ]
                across.append(torch.stack(places).clamp_min(0).amax(0))
            predicted.append(layer(w, "output", torch.cat([down.flatten(), *across])).clamp_min(0))
        return predicted

    return made


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def encoded(w: Wide, ids: list[int], layers: int, heads: int, known: int = 0) -> list[Tensor]:
    """Return what every place of a list with holes becomes, behind the head."""
    vectors = [w["table item"][i] if i < ITEMS else w["outside item"][i - ITEMS] for i in ids]
    if "parts" in w:
        vectors = [v + w["parts"][int(t >= known)] for t, v in enumerate(vectors)]
    xs = [normed(w, "encoder.input_norm", v + w["encoder.positions"][t], 1e-12) for t, v in enumerate(vectors)]
    for k in range(layers):
        name = f"encoder.blocks.{k}"
        parts = [layer(w, f"{name}.projected", x).chunk(3) for x in xs]
        keys, values = [p[1] for p in parts], [p[2] for p in parts]
        after = []
        for x, part in zip(xs, parts):
            a = x + layer(w, f"{name}.joined", attention(part[0], keys, values, heads))
            a = normed(w, f"{name}.attention_norm", a, 1e-12)
            network = layer(w, f"{name}.outer", gelu(layer(w, f"{name}.inner", a)))
            after.append(normed(w, f"{name}.norm", a + network, 1e-12))
        xs = after
    return [normed(w, "encoder.output_norm", gelu(layer(w, "encoder.transformed", x)), 1e-12) for x in xs]


# -- whether ours say the same ---------------------------------------------------------------------------------------

both = pytest.mark.parametrize("tied", [False, True])


@both
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (2, 2)])
def test_sasrec(layers: int, heads: int, tied: bool) -> None:
    agrees(World(SASRec(DIM, layers, heads, tied=tied)), sasrec(layers, heads))


@both
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (2, 2)])
def test_car(layers: int, heads: int, tied: bool) -> None:
    agrees(World(CAR(DIM, layers, heads, tied=tied)), car(layers, heads))


@both
def test_car_with_creators(tied: bool) -> None:
    made_by = torch.tensor([4, 0, -1, 7, 4])  # of RAGGED
    known = {one[0]: row for one, row in zip(RAGGED, made_by.tolist()) if row >= 0}
    world = World(CAR(DIM, 2, 2, tied=tied, creators=True))
    agrees(world, car(2, 2, known), made_by)
    with torch.no_grad():
        items = lists(RAGGED).items
        hidden, state = world.backbone.begin(world.look(), items, made_by)  # type: ignore[operator]
        hidden, _ = world.backbone.advance(world.look(), state, items[:, 0])  # type: ignore[operator]
        longer = lists([[*one, one[0]] for one in RAGGED]).items
        expected, _ = world.backbone.begin(world.look(), longer, made_by)  # type: ignore[operator]
        torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=1e-5)


def test_car_refuses_lists_that_nobody_is_known_to_have_made() -> None:
    facts = FACTS._replace(rows={"item": ITEMS})
    with pytest.raises(UserError, match=r"backbone.init_args.creators: the data does not tell who made its lists"):
        CAR(DIM, creators=True).prepare(facts)


@both
@pytest.mark.parametrize(("layers", "hidden"), [(1, None), (2, 6), (3, 3)])
def test_gru4rec(layers: int, hidden: int | None, tied: bool) -> None:
    agrees(World(GRU4Rec(DIM, layers, hidden, tied=tied)), gru4rec(layers))


@both
@pytest.mark.parametrize("window", [1, 3, 5])
def test_caser(window: int, tied: bool) -> None:
    agrees(World(Caser(DIM, window, horizontal=3, vertical=2, tied=tied), seed=4), caser(window))


@both
@pytest.mark.parametrize(("layers", "heads"), [(1, 2), (2, 1)])
def test_bert4rec(layers: int, heads: int, tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []

    def recorded(items: Tensor, chosen: Tensor, rows: int) -> Tensor:
        drawn.extend([chosen, clozed(items, chosen, rows)])
        return drawn[1]

    clozed = bert4rec_file.clozed
    monkeypatch.setattr(bert4rec_file, "clozed", recorded)
    world = World(BERT4Rec(DIM, layers, heads, mask_probability=0.5, tied=tied))
    wide = wide_of(world)
    torch.manual_seed(3)
    output: Output = world.backbone(world.look(), lists(RAGGED))
    chosen, masked = drawn[0].nonzero().tolist(), drawn[1]
    assert (masked == ITEMS).any()
    hidden = [encoded(wide, row[row >= 0].tolist(), layers, heads) for row in masked]
    assert output.targets is not None
    assert output.targets.tolist() == [RAGGED[b][t] for b, t in chosen]
    scores = [torch.stack([scored(wide, hidden[b][t], tied, i) for i in range(ITEMS)]) for b, t in chosen]
    agree(world, wide, all_scores(output), torch.stack(scores))


def test_bert4rec_continues_behind_the_items() -> None:
    world = World(BERT4Rec(DIM, 2, 2))
    wide = wide_of(world)
    hidden, _ = world.backbone.begin(world.look(), lists([[1, 2, 3], [4]]).items)  # type: ignore[operator]
    theirs = [encoded(wide, [*one, ITEMS], 2, 2)[-1] for one in ([1, 2, 3], [4])]
    torch.testing.assert_close(hidden, torch.stack(theirs).float(), atol=1e-5, rtol=1e-5)


@both
@pytest.mark.parametrize(("layers", "heads"), [(1, 2), (2, 1)])
def test_fans(layers: int, heads: int, tied: bool) -> None:
    world = World(FANS(DIM, layers, heads, tied=tied))
    wide = wide_of(world)
    hidden, targets = [], []
    for one in RAGGED:
        half = len(one) // 2
        shown = one[:half] + [ITEMS] * (len(one) - half)
        hidden += encoded(wide, shown, layers, heads, half)[half:]
        targets += one[half:]
    output = world.backbone(world.look(), lists(RAGGED))
    assert output.targets.tolist() == targets
    scores = [torch.stack([scored(wide, h, tied, i) for i in range(ITEMS)]) for h in hidden]
    agree(world, wide, all_scores(output), torch.stack(scores))


@both
def test_sampled_negatives(tied: bool) -> None:
    world = World(SASRec(DIM, tied=tied))
    negatives = torch.randint(ITEMS, (len(RAGGED), 7, 3), generator=torch.Generator().manual_seed(5))
    output = world.backbone(world.look(), lists(RAGGED, negatives=negatives))
    every = all_scores(world.backbone(world.look(), lists(RAGGED)))
    places = [(b, t) for b, one in enumerate(RAGGED) for t in range(1, len(one))]
    wanted = torch.tensor([[RAGGED[b][t], *negatives[b, t].tolist()] for b, t in places])
    torch.testing.assert_close(candidate_scores(output), every.gather(1, wanted))
