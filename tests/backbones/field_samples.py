"""Five samples of two fields or four, and a backbone of them held against a float64 reference, sample by sample."""

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_vq.backbones.fields import FieldBackbone
from lightning_vq.lookup import Lookup
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
