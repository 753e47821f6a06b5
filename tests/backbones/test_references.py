"""GMF, NeuMF, NGCF and CFKG against plain float64 torch written from their papers: scores, gradients, both paths."""

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.cfkg import CFKG
from lightning_vq.backbones.collaborative.gmf import GMF
from lightning_vq.backbones.collaborative.neumf import NeuMF
from lightning_vq.backbones.collaborative.ngcf import NGCF
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.losses import all_scores, candidate_scores
from lightning_vq.types import Facts, Pairs, Triples

USERS, ITEMS, CATEGORIES, RELATIONS, DIM = 9, 7, 3, 4, 5
PAIRS = torch.tensor(
    [[0, 1], [0, 4], [1, 1], [3, 0], [3, 6], [4, 2], [8, 5], [8, 6]]
)  # users 2, 5, 6, 7, item 3 have none
ROWS = {"user": USERS, "item": ITEMS, "category": CATEGORIES, "relation": RELATIONS}
ASKED, CANDIDATES = torch.tensor([0, 2, 8]), torch.tensor([[1, 3], [0, 6], [5, 5]])


def prepared(backbone: Backbone) -> tuple[Backbone, dict[str, Tensor]]:
    """Return the backbone with random weights, and its tables."""
    backbone.prepare(Facts(ROWS, {}, {}, ("pairs", "graph", "triples"), PAIRS))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    specs = backbone.tables()
    tables = {n: torch.randn(ROWS[s.vocab], s.dim, generator=draw).requires_grad_() for n, s in specs.items()}
    return backbone.eval(), tables


def agrees(backbone: Backbone, tables: dict[str, Tensor], expected: Tensor, wide: dict[str, Tensor]) -> None:
    """Hold scores (U, N) in float64 against both paths, and the gradients of tables against those of `wide`."""
    with torch.no_grad():
        whole = all_scores(backbone(Lookup(tables, {}), Pairs(torch.arange(USERS), None)))
    # A model may drop what is the same for all items of a user.
    shift = (whole - expected)[:, :1].detach()
    torch.testing.assert_close(whole - shift, expected.float().detach(), atol=1e-5, rtol=1e-5, check_dtype=False)
    some = candidate_scores(backbone(Lookup(tables, {}), Pairs(ASKED, CANDIDATES)))
    wanted = expected[ASKED].gather(1, CANDIDATES)
    torch.testing.assert_close(some - shift[ASKED], wanted, atol=1e-5, rtol=1e-5, check_dtype=False)
    difference = torch.tensor([1.0, -1.0])  # in which that shift is gone
    ours = torch.autograd.grad((some * difference).sum(1).sin().sum(), list(tables.values()), allow_unused=True)
    theirs = torch.autograd.grad((wanted * difference).sum(1).sin().sum(), list(wide.values()), allow_unused=True)
    for name, our, their in zip(tables, ours, theirs):
        if their is not None:
            torch.testing.assert_close(
                our, their.float(), atol=1e-5, rtol=1e-4, msg=lambda m, name=name: f"{name}: {m}"
            )


def widened(tables: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: table.detach().double().requires_grad_() for name, table in tables.items()}


def test_gmf() -> None:
    backbone, tables = prepared(GMF(DIM))
    wide = widened(tables)
    h = backbone.output.detach().double()[0]
    rows = [[(h * wide["user"][u] * wide["item"][i]).sum() for i in range(ITEMS)] for u in range(USERS)]
    agrees(backbone, tables, torch.stack([torch.stack(row) for row in rows]), wide)


@pytest.mark.parametrize("layers", [(6,), (6, 4, 3)])
def test_neumf(layers: tuple[int, ...]) -> None:
    backbone, tables = prepared(NeuMF(DIM, layers))
    wide = widened(tables)
    perceptron = [deepcopy(layer).double() for layer in (backbone.first, *backbone.rest)]
    scores = []
    for u in range(USERS):
        for i in range(ITEMS):
            x = torch.cat([wide["user_mlp"][u], wide["item_mlp"][i]])
            for layer in perceptron:
                x = (layer.weight @ x + layer.bias).clamp_min(0)
            scores.append(backbone.output.weight[0].double() @ torch.cat([wide["user"][u] * wide["item"][i], x]))
    agrees(backbone, tables, torch.stack(scores).view(USERS, ITEMS), wide)


@pytest.mark.parametrize("layers", [(), (4,), (6, 3)])
def test_ngcf(layers: tuple[int, ...]) -> None:
    backbone, tables = prepared(NGCF(DIM, layers))
    wide = widened(tables)
    adjacency = torch.zeros(USERS + ITEMS, USERS + ITEMS, dtype=torch.double)
    for u, i in PAIRS.tolist():
        norm = math.sqrt((PAIRS[:, 0] == u).sum() * (PAIRS[:, 1] == i).sum())
        adjacency[u, USERS + i] = adjacency[USERS + i, u] = 1 / norm
    e = torch.cat([wide["user"], wide["item"]])
    whole, eye = [e], torch.eye(USERS + ITEMS, dtype=torch.double)
    for w1, w2 in zip(backbone.sums, backbone.products):
        (a, b), (c, d) = ((w.weight.detach().double(), w.bias.detach().double()) for w in (w1, w2))
        e = (adjacency + eye) @ e @ a.T + b + (adjacency @ e * e) @ c.T + d  # eq. 7
        e = torch.where(e > 0, e, 0.2 * e)
        whole.append(e / e.norm(dim=1, keepdim=True))
    final = torch.cat(whole, 1)
    agrees(backbone, tables, final[:USERS] @ final[USERS:].T, wide)


def distance(h: Tensor, r: Tensor, t: Tensor) -> Tensor:
    return -((h + r - t) ** 2).sum()


def test_cfkg_recommends() -> None:
    backbone, tables = prepared(CFKG(DIM))
    wide = widened(tables)
    buy = wide["relation"][0]
    rows = [torch.stack([distance(user, buy, item) for item in wide["item"]]) for user in wide["user"]]
    agrees(backbone, tables, torch.stack(rows), wide)


def test_cfkg_scores_triples_of_all_kinds() -> None:
    backbone, tables = prepared(CFKG(DIM))
    wide = widened(tables)
    # (user 2, buys, item 4), (item 1, r1, item 6), (item 6, r3, category 2)
    first, item, category = 0, USERS, USERS + ITEMS
    batch = Triples(
        heads=torch.tensor([first + 2, item + 1, item + 6]),
        relations=torch.tensor([0, 1, 3]),
        tails=torch.tensor([item + 4, item + 6, category + 2]),
        other_tails=torch.tensor([item + 0, item + 2, category + 0]),
        other_heads=torch.tensor([first + 8, item + 3, item + 5]),
    )
    scores = candidate_scores(backbone(Lookup(tables, {}), batch))
    u, i, c, r = (wide[name] for name in ("user", "item", "category", "relation"))
    expected = torch.stack(
        [
            torch.stack([distance(u[2], r[0], i[4]), distance(u[2], r[0], i[0]), distance(u[8], r[0], i[4])]),
            torch.stack([distance(i[1], r[1], i[6]), distance(i[1], r[1], i[2]), distance(i[3], r[1], i[6])]),
            torch.stack([distance(i[6], r[3], c[2]), distance(i[6], r[3], c[0]), distance(i[5], r[3], c[2])]),
        ]
    )
    torch.testing.assert_close(scores, expected.float(), atol=1e-5, rtol=1e-5)
    ours = torch.autograd.grad(scores.sin().sum(), list(tables.values()))
    theirs = torch.autograd.grad(expected.sin().sum(), list(wide.values()))
    for our, their in zip(ours, theirs):
        torch.testing.assert_close(our, their.float(), atol=1e-4, rtol=1e-4)


def test_cfkg_gives_every_table_a_gradient() -> None:
    backbone, tables = prepared(CFKG(DIM))
    bought = Triples(*(torch.tensor([x]) for x in (2, 0, USERS + 4, USERS, 8)))
    candidate_scores(backbone(Lookup(tables, {}), bought)).sum().backward()
    assert torch.equal(tables["category"].grad, torch.zeros(CATEGORIES, DIM))


def test_cfkg_without_categories_has_no_such_table() -> None:
    backbone = CFKG(DIM)
    backbone.prepare(Facts({**ROWS, "category": 0}, {}, {}))
    assert set(backbone.tables()) == {"user", "item", "relation"}


def test_dropout_is_for_training_alone() -> None:
    for kind in (NeuMF, NGCF):
        backbone, tables = prepared(kind(DIM, (6,), 0.5))
        batch = Pairs(ASKED, CANDIDATES)

        def scores(backbone: Backbone = backbone, tables: dict[str, Tensor] = tables, batch: Pairs = batch) -> Tensor:
            return candidate_scores(backbone(Lookup(tables, {}), batch))

        assert torch.equal(scores(), scores())
        backbone.train()
        assert not torch.equal(scores(), scores())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NeuMF(layers=()), "layers is []"),
        (lambda: NeuMF(layers=(64, 0)), "layers is [64, 0]"),
        (lambda: NeuMF(dropout=1.0), "dropout is 1.0"),
        (lambda: NGCF(layers=(64, 0)), "layers is [64, 0]"),
        (lambda: NGCF(dropout=-0.1), "dropout is -0.1"),
    ],
)
def test_what_cannot_be(make: object, message: str) -> None:
    with pytest.raises(UserError) as error:
        make()  # type: ignore[operator]
    assert message in str(error.value)
