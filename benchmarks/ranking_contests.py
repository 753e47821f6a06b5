"""Our backbones of collaborative filtering with RecBole's weights on the same data, and how far their scores are apart.

A small random data set is written as RecBole's files and read by both, ours with its own reader of such folders.
RecBole numbers users, items and entities from 1, 0 being padding, in an order of its own; ids are matched by their
names, and so are the relations. What is loaded from where:

| Ours | RecBole's |
|---|---|
| `user`, `item` | `user_embedding`, `item_embedding`; of NeuMF `user_mf_embedding` and so on |
| NeuMF `user_mlp`, `item_mlp` | `user_mlp_embedding`, `item_mlp_embedding` |
| NeuMF `first`, `rest.0`, ... | `mlp_layers.mlp_layers.1`, `.4`, ... (dropout, linear and ReLU take turns) |
| NeuMF `output` | `predict_layer`, whose bias ours leaves out |
| NGCF `sums.l`, `products.l` | `GNNlayers.l.linear`, `GNNlayers.l.interActTransform` |
| CFKG `item` and `category` | `entity_embedding` |
| CFKG `relation` | `relation_embedding`, whose last row is ours of number 0 |
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rival import Found, places, weights_of, write_graph
from torch import Tensor

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.cfkg import CFKG
from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.backbones.collaborative.neumf import NeuMF
from lightning_vq.backbones.collaborative.ngcf import NGCF
from lightning_vq.data import CollaborativeData
from lightning_vq.data.splits import TRAIN
from lightning_vq.losses import all_scores, candidate_scores
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.types import Pairs, Triples

DIM = 64


class ChainedNGCF(NGCF):
    """NGCF as RecBole has it: the next layer gets the normalized output. A chain of ours with a layer each."""

    def smooth(self, adjacency: Tensor, table: Tensor) -> Tensor:
        whole = [table]
        for sums, products in zip(self.sums, self.products):
            one = NGCF(table.shape[1], [table.shape[1]]).eval()
            one.sums[0], one.products[0] = sums, products
            whole.append(one.smooth(adjacency, whole[-1])[:, whole[-1].shape[1] :])
        return torch.cat(whole, 1)


class Contest(NamedTuple):
    """A backbone, and what it is called there."""

    name: str
    backbone: Backbone
    rival: str
    hidden: tuple[int, ...]
    note: str


CONTESTS = (
    Contest("BPRMF", BPRMF(DIM, item_bias=False), "BPR", (), "RecBole's has no item bias: item_bias=False"),
    Contest("LightGCN", LightGCN(DIM), "LightGCN", (), "3 layers; RecBole's padding nodes have no edges"),
    Contest("NeuMF", NeuMF(DIM, [64]), "NeuMF", (64,), "RecBole adds a bias to all scores; before its sigmoid"),
    Contest("NeuMF, deep", NeuMF(DIM, [64, 32, 16]), "NeuMF", (64, 32, 16), "the same"),
    Contest("NGCF, 1 layer", NGCF(DIM, [64]), "NGCF", (64,), "RecBole's definition is ours where there is one layer"),
    Contest(
        "NGCF, 3 layers", ChainedNGCF(DIM, [64, 64, 64]), "NGCF", (64, 64, 64),
        "RecBole feeds the normalized output to the next layer, ours (as the authors') the plain one: "
        "compared is a chain of ours with one layer each",
    ),
    Contest(
        "CFKG", CFKG(DIM), "CFKG", (),
        "RecBole scores by the distance, ours by its square, less what is the same for all items: "
        "compared is minus the root of (u + r)^2 - s",
    ),
)  # fmt: skip


def write_files(folder: Path) -> CollaborativeData:
    """Write a random data set and return it as our reader has it; one item has no training interaction."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    users, items, genres = 90, 70, 6
    known = rng.random((users, items)) < 0.15
    known[:, :4] |= True  # whatever is drawn, everyone has some
    known[1:, 0] = False
    rows = rng.permutation(np.argwhere(known))
    rows = np.concatenate([rows[~(rows == [0, 0]).all(1)], [[0, 0]]])  # the first item is the first user's last
    lines = [f"u{user}\ti{item}\t{time}\n" for time, (user, item) in enumerate(rows.tolist())]
    path = folder / f"{folder.name}.inter"
    path.write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines))
    classes = [" ".join(f"g{g}" for g in rng.choice(genres, rng.integers(1, 4), replace=False)) for _ in range(items)]
    content = [f"i{item}\t{of}\n" for item, of in enumerate(classes)]
    path.with_suffix(".item").write_text("item_id:token\tclass:token_seq\n" + "".join(content))
    data = CollaborativeData(source=str(folder), columns={"timestamp": "timestamp"}, seed=0)
    data.setup("fit")
    write_graph(data, path)
    return data


def load(module: CollaborativeFiltering, data: CollaborativeData, found: Found) -> None:
    """Put RecBole's weights into a module."""
    assert data.raw is not None
    weights = weights_of(found)
    user = places(data.raw.user_ids.to_pylist(), found["tokens/user_id"])
    item = places(data.raw.item_ids.to_pylist(), found["tokens/item_id"])
    backbone = module.backbone
    state: dict[str, Tensor] = {}
    part = "_mf" if isinstance(backbone, NeuMF) else ""
    state["tables.user"] = weights[f"user{part}_embedding.weight"][user]
    if isinstance(backbone, CFKG):
        entities = [f"e{data.user_count + i}" for i in range(data.item_count + len(data.graph().categories))]
        entity = weights["entity_embedding.weight"][places(entities, found["tokens/entity_id"])]
        state["tables.item"], state["tables.category"] = entity[: data.item_count], entity[data.item_count :]
        relation = weights["relation_embedding.weight"]
        known = places(list(data.graph().names[1:]), found["tokens/relation_id"])
        state["tables.relation"] = torch.cat([relation[-1:], relation[known]])
    else:
        state["tables.item"] = weights[f"item{part}_embedding.weight"][item]
    pairs: list[tuple[str, str]] = []
    if isinstance(backbone, NeuMF):
        state |= {
            f"tables.{v}_mlp": weights[f"{v}_mlp_embedding.weight"][i] for v, i in (("user", user), ("item", item))
        }
        state["backbone.output.weight"] = weights["predict_layer.weight"]
        deep = [f"rest.{i}" for i in range(len(backbone.rest))]
        pairs = [(name, f"mlp_layers.mlp_layers.{3 * i + 1}") for i, name in enumerate(["first", *deep])]
    if isinstance(backbone, NGCF):
        for i in range(len(backbone.layers)):
            pairs += [(f"sums.{i}", f"GNNlayers.{i}.linear"), (f"products.{i}", f"GNNlayers.{i}.interActTransform")]
    for ours, theirs in pairs:
        state |= {f"backbone.{ours}.{kind}": weights[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
    module.load_state_dict(state)  # strict: nothing of ours keeps values of its own


def as_theirs(module: CollaborativeFiltering, scores: Tensor, users: Tensor, found: Found) -> Tensor:
    """Return our scores (B, C) of users (B,) as RecBole defines its own."""
    if isinstance(module.backbone, NeuMF):
        return scores + torch.from_numpy(found["weights/predict_layer.bias"])
    if isinstance(module.backbone, CFKG):
        moved = module.tables["user"][users] + module.tables["relation"][0]
        return -(moved.square().sum(1, keepdim=True) - scores).sqrt()
    return scores


@torch.no_grad()
def compare(contest: Contest, data: CollaborativeData, found: Found) -> tuple[list[float], float]:
    """Return the largest differences, of pairs, of full ranking and of triples, and the scores' deviation."""
    assert data.raw is not None
    module = CollaborativeFiltering(contest.backbone)
    module.build(data.facts())
    load(module, data, found)
    module.eval()
    look = module.lookup()
    # Their ids to our rows.
    user, item = (
        places(found[f"tokens/{kind}_id"][1:].tolist(), np.array(ids.to_pylist()))
        for kind, ids in (("user", data.raw.user_ids), ("item", data.raw.item_ids))
    )
    ours = torch.stack(data.parts[TRAIN], 1)
    theirs = torch.stack([user[found["train"][:, 0] - 1], item[found["train"][:, 1] - 1]], 1)
    if not torch.equal(torch.unique(ours, dim=0), torch.unique(theirs, dim=0)):
        raise SystemExit(f"{contest.name}: the two train on different interactions")
    asked = torch.from_numpy(found["pairs"]) - 1
    users, items = user[asked[:, 0]], item[asked[:, 1]]
    scores = candidate_scores(module.backbone(look, Pairs(users, items[:, None])))
    gaps = [as_theirs(module, scores, users, found)[:, 0] - torch.from_numpy(found["forward"])]
    scores = as_theirs(module, all_scores(module.backbone(look, Pairs(user, None))), user, found)
    gaps.append(scores[:, item] - torch.from_numpy(found["full"]))
    if isinstance(module.backbone, CFKG):
        entity = [int(token[1:]) if token[0] == "e" else -1 for token in found["tokens/entity_id"].tolist()]
        relation = [
            {n: i for i, n in enumerate(data.graph().names)}.get(n, -1) for n in found["tokens/relation_id"].tolist()
        ]
        head, kind, tail = (
            torch.tensor(names)[found["triples"][:, i]] for i, names in enumerate((entity, relation, entity))
        )
        translated = module.backbone(look, Triples(head, kind, tail, tail, head)).scores
        assert translated is not None
        gaps.append(-(-translated[:, 0]).sqrt() - torch.from_numpy(found["translated"]))
    return [float(gap.abs().max()) for gap in gaps], float(scores.std())
