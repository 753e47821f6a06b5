"""Writes what RecBole 1.2.1 scores with random weights, no sigmoid; run by against_recbole.py in RecBole's environment.

    python rival_scores.py --inter FOLDER/NAME/NAME.inter --model NGCF --hidden 64 64 --out scores.npz

The archive holds `weights/<name>` as RecBole calls them and `tokens/<field>` by RecBole's ids (0 is padding). Of models
that rank: `train` (E, 2), `pairs` (P, 2) with the scores `forward` (P,), `full` (U, N) for all users and items but the
padding, and for a model of the knowledge graph `triples` (T, 3) with the scores `translated` (T,). Of models of clicks:
`pairs` (P, F) of the `fields` (F,) with the logits `forward` (P,). Of models of histories: `histories` (U, S) of
all users, 0 behind them, the items `targets` (U,) that follow, and `pairs`, `forward` and `full` as above.
"""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rival_recbole  # sets what RecBole needs of torch
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import get_model, init_seed

SPREAD = (
    0.2  # of the weights: with RecBole's first ones any two models agree to 1e-5, with large ones rounding exceeds it
)
PAIRS = 500
SEQUENTIAL: dict[str, dict[str, Any]] = {  # what differs from RecBole's defaults
    "SASRec": {"n_heads": 1, "inner_size": 64, "hidden_act": "relu", "layer_norm_eps": 1e-8},
    "GRU4Rec": {},
    "BERT4Rec": {},
    "Caser": {"nv": 2, "nh": 4},
}
HIDDEN = {  # the option that --hidden is
    "NeuMF": "mlp_hidden_size",
    "NGCF": "hidden_size_list",
    "DCN": "mlp_hidden_size",
    "DeepFM": "mlp_hidden_size",
}


def full(network: Any, users: int, items: int) -> torch.Tensor:
    """Return scores (U, N) by full_sort_predict, by predict where the model has none."""
    everyone = torch.arange(1, users)
    try:
        scores = network.full_sort_predict(Interaction({"user_id": everyone}))
        return scores.view(users - 1, items)[:, 1:]
    except NotImplementedError:
        pairs = torch.cartesian_prod(everyone, torch.arange(1, items))
        return network.predict(Interaction({"user_id": pairs[:, 0], "item_id": pairs[:, 1]})).view(users - 1, items - 1)


@torch.no_grad()
def scored(o: argparse.Namespace) -> dict[str, np.ndarray]:
    changes = rival_recbole.settings(o.inter, o.model, 2048, 1, 4096, sizes=rival_recbole.RANKERS | SEQUENTIAL)
    changes |= {HIDDEN[o.model]: o.hidden} if o.model in HIDDEN else {}
    changes |= {"hidden_size": o.hidden[0], "num_layers": len(o.hidden)} if o.model == "GRU4Rec" else {}
    changes |= {"MAX_ITEM_LIST_LENGTH": o.shown} if o.model in SEQUENTIAL else {}
    config = Config(model=o.model, dataset=o.inter.stem, config_dict=changes)
    init_seed(config["seed"], config["reproducibility"])
    train, _, test = data_preparation(config, dataset := create_dataset(config))
    network = get_model(o.model)(config, train._dataset).eval()
    for parameter in network.parameters():
        parameter.normal_(std=SPREAD)
    network.sigmoid = torch.nn.Identity()  # near 0 and 1 any two scores would agree
    if o.model in rival_recbole.CLICKS:
        found, fields = of_samples(network), network.token_field_names
    elif o.model in SEQUENTIAL:
        found, fields = of_histories(network, test), ["user_id", "item_id"]
    else:
        found, fields = of_pairs(network, train, dataset)
    found |= {f"weights/{name}": weight for name, weight in network.state_dict().items()}
    tokens = {f"tokens/{field}": np.asarray(dataset.field2id_token[field], dtype=str) for field in fields}
    return {**{name: tensor.numpy() for name, tensor in found.items()}, **tokens, "fields": np.asarray(fields)}


def of_samples(network: Any) -> dict[str, torch.Tensor]:
    """Return samples and their logits."""
    rows = torch.stack([torch.randint(1, count, (PAIRS,)) for count in network.token_field_dims], 1)
    asked = Interaction(dict(zip(network.token_field_names, rows.unbind(1))))
    return {"pairs": rows, "forward": network.predict(asked)}


def of_pairs(network: Any, train: Any, dataset: Any) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return training pairs, pairs and triples with their scores, and the fields that they are of."""
    rows = train._dataset.inter_feat
    users, items = dataset.user_num, dataset.item_num
    pairs = torch.stack([torch.randint(1, n, (PAIRS,)) for n in (users, items)], 1)
    found = {
        "train": torch.stack([rows["user_id"], rows["item_id"]], 1), "pairs": pairs,
        "full": full(network, users, items),
        "forward": network.predict(Interaction({"user_id": pairs[:, 0], "item_id": pairs[:, 1]})),
    }  # fmt: skip
    fields = ["user_id", "item_id"]
    if hasattr(network, "entity_embedding"):
        graph = dataset.kg_feat
        head, relation, tail = (graph[name] for name in ("head_id", "relation_id", "tail_id"))
        vectors = (network.entity_embedding(head), network.entity_embedding(tail), network.relation_embedding(relation))
        found |= {"triples": torch.stack([head, relation, tail], 1), "translated": network._get_score(*vectors)}
        fields += ["entity_id", "relation_id"]
    return found, fields


def of_histories(network: Any, test: Any) -> dict[str, torch.Tensor]:
    """Return the histories before each user's last item, that item, and scores of what follows them."""
    rows = test._dataset.inter_feat
    rows = rows[rows["user_id"].argsort()]  # one of each user: row 0 is user 1's
    pairs = torch.stack([torch.randint(1, n, (PAIRS,)) for n in (len(rows) + 1, network.n_items)], 1)
    asked = rows[pairs[:, 0] - 1]
    asked.update(Interaction({"item_id": pairs[:, 1]}))
    return {
        "histories": rows["item_id_list"], "targets": rows["item_id"], "pairs": pairs,
        "full": network.full_sort_predict(rows)[:, 1:], "forward": network.predict(asked),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inter", type=Path, required=True)
    models = [*rival_recbole.RANKERS, *rival_recbole.CLICKS, *SEQUENTIAL]
    parser.add_argument("--model", required=True, choices=models)
    parser.add_argument("--hidden", type=int, nargs="*", default=[], help="widths of layers: NeuMF to DeepFM, GRU4Rec")
    parser.add_argument("--shown", type=int, default=10, help="items of a history at most")
    parser.add_argument("--out", type=Path, required=True)
    o = parser.parse_args()
    del sys.argv[1:]  # RecBole would read them as its own options
    os.chdir(o.inter.parent.parent)  # RecBole writes its logs into the current folder
    logging.disable(logging.CRITICAL)
    np.savez(o.out, **scored(o))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
