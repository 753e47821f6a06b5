"""Our backbones of click-through rate with RecBole's weights on the same samples, and how far their logits are apart.

Samples of three fields are written as RecBole's file and as a CSV of ours. RecBole has one table for all fields, each
from a row of its own on, and 0 is padding; values are matched by their names. What is loaded from where:

| Ours | RecBole's |
|---|---|
| `user`, ... | rows of `token_embedding_table`; `user_first` of `first_order_linear.token_embedding_table` |
| `cross.l`, `cross_bias.l` | `cross_layer_w.l`, `cross_layer_b.l` |
| DCN `deep.layers.l` | `mlp_layers.mlp_layers.4l+1`, with its batch normalization (of no batch yet) |
| DeepFM `deep.layers.l` | `mlp_layers.mlp_layers.3l+1` |
| `output` | `predict_layer`, `deep_predict_layer`, whose bias ours leaves out |
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rival import Found, places, weights_of
from torch import Tensor

from lightning_vq.backbones.ctr.dcn import DCN
from lightning_vq.backbones.ctr.deepfm import DeepFM
from lightning_vq.data import ClickThroughData
from lightning_vq.modules import ClickThroughRate
from lightning_vq.sources.schema import Schema
from lightning_vq.types import Samples

DIM, HIDDEN = 64, (64, 32, 16)
FIELDS = {"user": ("user_id", 90), "item": ("item_id", 70), "hour": ("hour", 24)}  # RecBole's name, values


class ClickContest(NamedTuple):
    """A backbone, and what it is called there."""

    name: str
    backbone: DCN | DeepFM
    note: str
    hidden: tuple[int, ...] = HIDDEN

    @property
    def rival(self) -> str:
        return self.name


CLICK_CONTESTS = (
    ClickContest("DCN", DCN(DIM, 3, HIDDEN), "RecBole adds batch normalization, and a bias to all logits"),
    ClickContest("DeepFM", DeepFM(DIM, HIDDEN), "RecBole adds a second bias to all logits"),
)


def write_samples(folder: Path) -> ClickThroughData:
    """Write random samples and return them as ours; every value is in training."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(np.arange(1000) % count) for _, count in FIELDS.values()], 1)
    labels = rng.integers(0, 2, len(rows))
    names = [[f"{field[0]}{value}" for field, value in zip(FIELDS, row)] for row in rows.tolist()]
    lines = ["\t".join([*row, str(label)]) for row, label in zip(names, labels)]
    head = "\t".join(f"{name}:token" for name, _ in FIELDS.values())
    (folder / f"{folder.name}.inter").write_text("\n".join([f"{head}\tlabel:float", *lines, ""]))
    parts = ["train"] * 1000 + ["dev"] * 1000 + ["test"] * 1000  # the same rows: all values must be in training
    csv = [f"{line.replace(chr(9), ',')},{part}" for line, part in zip(lines * 3, parts)]
    path = folder / "samples.csv"
    path.write_text("\n".join([",".join([*FIELDS, "label", "part"]), *csv, ""]))
    data = ClickThroughData(str(path), schema=Schema(list(FIELDS), split="part"), seed=0)
    data.setup("fit")
    return data


def load(module: ClickThroughRate, data: ClickThroughData, found: Found) -> dict[str, Tensor]:
    """Put RecBole's weights into a module, and return RecBole's id of each value of ours, by field."""
    assert data.encoded is not None
    weights = weights_of(found)
    order = found["fields"].tolist()
    starts = dict(zip(order, np.cumsum([0, *(len(found[f"tokens/{name}"]) for name in order)])))
    state, ids = module.state_dict(), {}
    for field, (name, _) in FIELDS.items():
        ids[field] = places(data.encoded.vocabularies[field].to_pylist(), found[f"tokens/{name}"])
        rows = ids[field] + int(starts[name])
        state[f"tables.{field}"] = weights["token_embedding_table.embedding.weight"][rows]
        if module.backbone.first_order:
            state[f"tables.{field}_first"] = weights["first_order_linear.token_embedding_table.embedding.weight"][rows]
    normalized = isinstance(module.backbone, DCN)
    for i in range(len(HIDDEN)):
        theirs = f"mlp_layers.mlp_layers.{(4 if normalized else 3) * i + 1}"
        weight, bias = weights[f"{theirs}.weight"], weights[f"{theirs}.bias"]
        if normalized:
            norm = f"mlp_layers.mlp_layers.{4 * i + 2}"
            scale = weights[f"{norm}.weight"] * (weights[f"{norm}.running_var"] + 1e-5).rsqrt()
            shift = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
            weight, bias = weight * scale[:, None], bias * scale + shift
        state |= {f"backbone.deep.layers.{i}.weight": weight, f"backbone.deep.layers.{i}.bias": bias}
    if isinstance(module.backbone, DCN):
        for i in range(module.backbone.cross_layers):
            state[f"backbone.cross.{i}.weight"] = weights[f"cross_layer_w.{i}"][None]
            state[f"backbone.cross_bias.{i}"] = weights[f"cross_layer_b.{i}"]
        state["backbone.output.weight"] = weights["predict_layer.weight"]
    else:
        state["backbone.output.weight"] = weights["deep_predict_layer.weight"]
        state["backbone.bias"] = weights["first_order_linear.bias"][0]
    module.load_state_dict(state)
    return ids


@torch.no_grad()
def compare(contest: ClickContest, data: ClickThroughData, found: Found) -> tuple[list[float], float]:
    """Return the largest difference of logits, and their deviation."""
    module = ClickThroughRate(contest.backbone)
    module.build(data.facts())
    ids = load(module, data, found)
    order, asked = found["fields"].tolist(), torch.from_numpy(found["pairs"])
    rows = []
    for field, (name, count) in FIELDS.items():
        ours = torch.full((count + 1,), -1)
        ours[ids[field]] = torch.arange(count)
        rows.append(ours[asked[:, order.index(name)]])
    none = torch.zeros(len(asked))
    batch = Samples(
        torch.stack(rows, 1), torch.empty(len(asked), 0), torch.empty(len(asked), 0, 1, dtype=torch.long), none,
        none.long(),
    )  # fmt: skip
    module.eval()
    logits = module.backbone(module.lookup(), batch).scores
    output = "predict_layer" if isinstance(contest.backbone, DCN) else "deep_predict_layer"
    gap = logits + torch.from_numpy(found[f"weights/{output}.bias"]) - torch.from_numpy(found["forward"])
    return [float(gap.abs().max())], float(logits.std())
