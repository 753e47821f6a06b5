"""Our backbones of histories with RecBole's weights on the same data, and how far their scores are apart.

Random histories, shorter than what a model is shown, as long and longer, are written as RecBole's file and read by
both, ours with its own reader of such folders. Both hold out the last item of each and must show the same items before
it. RecBole numbers items from 1, 0 being padding; ids are matched by their names. What is loaded from where:

| Ours | RecBole's |
|---|---|
| `item` | `item_embedding`; BERT4Rec's <MASK> is its row behind the items |
| SASRec `blocks.l.norm`, BERT4Rec `attention_norm` | `multi_head_attention.LayerNorm` of layer l |
| BERT4Rec `blocks.l.norm` | `feed_forward.LayerNorm` |
| `queries`, `keys`, `values`; `projected` of BERT4Rec | `query`, `key`, `value` |
| `inner`, `outer` | `feed_forward.dense_1`, `feed_forward.dense_2` |
| SASRec `positions` | sqrt(D) times `position_embedding`: a sum of both so multiplied is normalized to the same |
| SASRec `values` | `dense` of `value`: of one head a product of matrices, and weights that sum to 1 keep its bias |
| SASRec `blocks.l.before`, `norm` | `LayerNorm`, then `feed_forward.LayerNorm` of each layer |
| BERT4Rec `positions`, `input_norm`, `joined` | `position_embedding`, `LayerNorm`, `dense` |
| BERT4Rec `transformed`, `output_norm`, `item_bias` | `output_ffn`, `output_ln`, `output_bias` |
| GRU4Rec `units.l`, `output` | `gru_layers`, whose biases are none: ours are zeros; `dense` |
| Caser `rows.h`, `columns` | `conv_h.h`, `conv_v` |
| Caser `output` | `fc1`, which has the vertical filters' values filter by filter, ours dimension by dimension |
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rival import Found, places, weights_of
from torch import Tensor, nn
from torch.nn.functional import linear

from lightning_vq.backbones.causal import Kept
from lightning_vq.backbones.list_completion.bert4rec import BERT4Rec
from lightning_vq.backbones.list_completion.caser import Caser
from lightning_vq.backbones.list_completion.gru4rec import GRU4Rec
from lightning_vq.backbones.list_completion.sasrec import SASRec, SASRecBlock
from lightning_vq.backbones.lists import ListBackbone
from lightning_vq.data import ListData
from lightning_vq.data.splits import TEST
from lightning_vq.losses import candidate_scores
from lightning_vq.modules import ListCompletion
from lightning_vq.modules.decoding import given, next_hidden, whole_scores
from lightning_vq.types import Output

DIM, SHOWN = 64, 10  # items of a history that a model is shown at most
State = dict[str, Tensor]


class NormedBlock(SASRecBlock):
    """A block whose keys and values are made of the normalized vectors, as the queries are."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__(dim, heads, dropout)
        self.before, self.query_norm = self.query_norm, nn.Identity()  # type: ignore[assignment]

    def forward(self, x: Tensor, past: Kept = (), there: Tensor | None = None) -> tuple[Tensor, Kept]:
        return super().forward(self.before(x), past, there)


class NormedSASRec(SASRec):
    """SASRec as RecBole has it, with our attention, layers and norms."""

    def block(self) -> SASRecBlock:
        return NormedBlock(self.dim, self.heads, self.dropout)


def renamed(weights: State, pairs: list[tuple[str, str]]) -> State:
    """Return weights and biases by our names, given (our part, RecBole's part)."""
    return {f"{ours}.{kind}": weights[f"{theirs}.{kind}"] for ours, theirs in pairs for kind in ("weight", "bias")}


def of_sasrec(weights: State, layers: int) -> State:
    pairs, before, state = [], "LayerNorm", {"positions": DIM**0.5 * weights["position_embedding.weight"]}
    for i in range(layers):
        attention, network = (f"trm_encoder.layer.{i}.{part}" for part in ("multi_head_attention", "feed_forward"))
        ours = ("before", "queries", "keys", "norm", "network.inner", "network.outer")
        theirs = [before, *(f"{attention}.{part}" for part in ("query", "key", "LayerNorm"))]
        theirs += [f"{network}.dense_1", f"{network}.dense_2"]
        pairs += [(f"blocks.{i}.{one}", other) for one, other in zip(ours, theirs)]
        dense, shift = weights[f"{attention}.dense.weight"], weights[f"{attention}.dense.bias"]
        state[f"blocks.{i}.values.weight"] = dense @ weights[f"{attention}.value.weight"]
        state[f"blocks.{i}.values.bias"] = dense @ weights[f"{attention}.value.bias"] + shift
        before = f"{network}.LayerNorm"
    return state | renamed(weights, [*pairs, ("norm", before)])


def of_bert4rec(weights: State, layers: int) -> State:
    pairs = [("input_norm", "LayerNorm"), ("transformed", "output_ffn"), ("output_norm", "output_ln")]
    state = {"encoder.positions": weights["position_embedding.weight"]}
    for i in range(layers):
        attention, network = (f"trm_encoder.layer.{i}.{part}" for part in ("multi_head_attention", "feed_forward"))
        theirs = [f"{attention}.dense", f"{attention}.LayerNorm"]
        theirs += [f"{network}.{part}" for part in ("dense_1", "dense_2", "LayerNorm")]
        ours = ("joined", "attention_norm", "inner", "outer", "norm")
        pairs += [(f"blocks.{i}.{one}", other) for one, other in zip(ours, theirs)]
        for kind in ("weight", "bias"):
            parts = [weights[f"{attention}.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"encoder.blocks.{i}.projected.{kind}"] = torch.cat(parts)
    return state | renamed(weights, [(f"encoder.{ours}", theirs) for ours, theirs in pairs])


def of_gru4rec(weights: State, layers: int) -> State:
    state = renamed(weights, [("output", "dense")])
    for i in range(layers):
        for part in ("ih", "hh"):
            weight = weights[f"gru_layers.weight_{part}_l{i}"]
            state |= {f"units.{i}.weight_{part}_l0": weight, f"units.{i}.bias_{part}_l0": weight.new_zeros(len(weight))}
    return state


def of_caser(weights: State, window: int) -> State:
    state = {"columns.weight": weights["conv_v.weight"].flatten(1), "columns.bias": weights["conv_v.bias"]}
    for i in range(window):
        state[f"rows.{i}.weight"] = weights[f"conv_h.{i}.weight"].squeeze(1).transpose(1, 2)
        state[f"rows.{i}.bias"] = weights[f"conv_h.{i}.bias"]
    vertical = len(state["columns.bias"])
    down, across = weights["fc1.weight"].tensor_split([vertical * DIM], 1)
    down = down.unflatten(1, (vertical, DIM)).transpose(1, 2).flatten(1)
    return state | {"output.weight": torch.cat([down, across], 1), "output.bias": weights["fc1.bias"]}


class SequenceContest(NamedTuple):
    """A backbone, and what it is called there."""

    name: str
    backbone: ListBackbone
    rival: str
    state: Callable[[State, int], State]  # its weights by our names, given RecBole's and how many layers it has
    layers: int
    note: str
    hidden: tuple[int, ...] = ()


SEQUENCE_CONTESTS = (
    SequenceContest(
        "SASRec", NormedSASRec(DIM, layers=2, heads=1), "SASRec", of_sasrec, 2,
        "RecBole's is a causal BERT: it makes keys and values of normalized vectors, ours (as the authors') of plain "
        "ones: compared are blocks of ours that normalize first; its layer behind the heads, which ours leaves out, is "
        "multiplied into the values of one head; it does not scale items by sqrt(D): our positions are its own scaled; "
        "inner layers of ReLU, 64 wide, and epsilon 1e-8 are options there",
    ),
    SequenceContest(
        "GRU4Rec", GRU4Rec(DIM, 1, 128, tied=True), "GRU4Rec", of_gru4rec, 1,
        "RecBole's units have no biases: ours are zeros; its scores have none: tied=True", (128,),
    ),
    SequenceContest(
        "GRU4Rec, 2 layers", GRU4Rec(DIM, 2, 128, tied=True), "GRU4Rec", of_gru4rec, 2, "the same", (128, 128)
    ),
    SequenceContest(
        "BERT4Rec", BERT4Rec(DIM, layers=2, heads=2), "BERT4Rec", of_bert4rec, 2,
        "RecBole drops every history's first item to make room for the mask, of short ones too: ours gets the rest",
    ),
    SequenceContest(
        "Caser", Caser(DIM, SHOWN, horizontal=4, vertical=2, tied=True), "Caser", of_caser, SHOWN,
        "ours has no user: RecBole's layer with ReLU on z and the user's vector is put behind it; RecBole fills up "
        "short histories behind, with a vector that is not zero, ours in front with zeros: compared are those that "
        "fill the window",
    ),
)  # fmt: skip


def write_histories(folder: Path) -> ListData:
    """Write random histories and return them as our reader has them; an item may come again."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    users, items = 90, 70
    lengths = 3 + np.arange(users) % (SHOWN + 4)  # with the item held out: of 2 to SHOWN + 5 before it
    owners = np.repeat(np.arange(users), lengths)
    rows = zip(owners.tolist(), rng.integers(0, items, len(owners)).tolist())
    lines = np.array([f"u{user}\ti{item}\t{time}\n" for time, (user, item) in enumerate(rows)])
    head, path = "user_id:token\titem_id:token\ttimestamp:float\n", folder / f"{folder.name}.inter"
    path.write_text(head + "".join(rng.permutation(lines)))  # their order is that of the times alone
    data = ListData(
        str(folder), columns={"timestamp": "timestamp"}, protocol="next", max_length=SHOWN, eval_negatives=0, seed=0
    )
    data.setup("fit")
    return data


def load(contest: SequenceContest, data: ListData, weights: State, item: Tensor) -> ListCompletion:
    """Return a module with RecBole's weights, given RecBole's ids (N,) of our items."""
    facts, backbone = data.facts(), contest.backbone
    state = {f"backbone.{name}": weight for name, weight in contest.state(weights, contest.layers).items()}
    state["tables.item"] = weights["item_embedding.weight"][item]
    if isinstance(backbone, BERT4Rec):
        state["outside.item"] = weights["item_embedding.weight"][-1:]
        state["tables.item_bias"] = weights["output_bias"][item][:, None]
        facts = facts._replace(length=SHOWN)  # the mask is one of them
    module = ListCompletion(backbone)
    module.build(facts)
    module.load_state_dict(state)  # strict: nothing of ours keeps values of its own
    return module


def as_theirs(backbone: ListBackbone, hidden: Tensor, weights: State) -> Tensor:
    """Return what we make (U, D) of users' histories as RecBole makes it."""
    if isinstance(backbone, Caser):
        both = torch.cat([hidden, weights["user_embedding.weight"][1:]], 1)
        return linear(both, weights["fc2.weight"], weights["fc2.bias"]).relu()
    return hidden


@torch.no_grad()
def compare(contest: SequenceContest, data: ListData, found: Found) -> tuple[list[float], float]:
    """Return the largest differences, of pairs and of full ranking, and the scores' deviation."""
    assert data.raw is not None
    weights, backbone = weights_of(found), contest.backbone
    item = places(data.raw.item_ids.to_pylist(), found["tokens/item_id"])
    ours = torch.full((len(item) + 1,), -1)  # row of each of RecBole's ids
    ours[item] = torch.arange(len(item))
    test = data.parts[TEST]
    users = places(data.list_ids(test.cases).to_pylist(), found["tokens/user_id"])
    batch = test.batch(users.argsort())  # RecBole's order
    inputs, targets = given(batch.items, batch.known)
    theirs = (ours[torch.from_numpy(found[name])] for name in ("histories", "targets"))
    if not all(torch.equal(one, other) for one, other in zip((inputs, targets[:, 0]), theirs)):
        raise SystemExit(f"{contest.name}: the two show different histories")
    filled = (inputs >= 0).all(1) | (not isinstance(backbone, Caser))
    module = load(contest, data, weights, item).eval()
    look = module.lookup()
    keys = backbone.keys(look)  # of all items, before any vector that comes in
    shown = inputs[:, 1:] if isinstance(backbone, BERT4Rec) else inputs
    hidden = as_theirs(backbone, next_hidden(backbone, look, shown), weights)
    asked = torch.from_numpy(found["pairs"])
    of, items = asked[:, 0] - 1, ours[asked[:, 1]]
    scores = candidate_scores(Output(hidden[of], *backbone.keys(look, items[:, None])))[:, 0]
    whole = whole_scores(backbone, hidden, *keys)[:, ours[1:]]
    gaps = [
        (scores - torch.from_numpy(found["forward"]))[filled[of]],
        (whole - torch.from_numpy(found["full"]))[filled],
    ]
    return [float(gap.abs().max()) for gap in gaps], float(whole[filled].std())
