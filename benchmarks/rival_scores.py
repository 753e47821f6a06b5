"""Writes what RecBole 1.2.1 scores with random weights, no sigmoid; run by against_recbole.py in RecBole's environment.

    python rival_scores.py --inter FOLDER/NAME/NAME.inter --model NGCF --hidden 64 64 --out scores.npz

The archive holds `weights/<name>` as RecBole calls them, `tokens/<field>` by RecBole's ids (0 is padding), `train`
(E, 2), `pairs` (P, 2) with the scores `forward` (P,), `full` (U, N) for all users and items but the padding, and for a
model of the knowledge graph `triples` (T, 3) with the scores `translated` (T,).
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
HIDDEN = {"NeuMF": "mlp_hidden_size", "NGCF": "hidden_size_list"}


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
    changes = rival_recbole.settings(o.inter, o.model, 2048, 1, 4096)
    changes |= {HIDDEN[o.model]: o.hidden} if o.model in HIDDEN else {}
    config = Config(model=o.model, dataset=o.inter.stem, config_dict=changes)
    init_seed(config["seed"], config["reproducibility"])
    train, _, _ = data_preparation(config, dataset := create_dataset(config))
    network = get_model(o.model)(config, train._dataset).eval()
    for parameter in network.parameters():
        parameter.normal_(std=SPREAD)
    network.sigmoid = torch.nn.Identity()  # NeuMF's: near 0 and 1 any two scores would agree
    rows = train._dataset.inter_feat
    users, items = dataset.user_num, dataset.item_num
    pairs = torch.stack([torch.randint(1, n, (PAIRS,)) for n in (users, items)], 1)
    found = {
        "train": torch.stack([rows["user_id"], rows["item_id"]], 1), "pairs": pairs,
        "full": full(network, users, items),
        "forward": network.predict(Interaction({"user_id": pairs[:, 0], "item_id": pairs[:, 1]})),
        **{f"weights/{name}": weight for name, weight in network.state_dict().items()},
    }  # fmt: skip
    fields = ["user_id", "item_id"]
    if o.model == "CFKG":
        graph = dataset.kg_feat
        head, relation, tail = (graph[name] for name in ("head_id", "relation_id", "tail_id"))
        vectors = (network.entity_embedding(head), network.entity_embedding(tail), network.relation_embedding(relation))
        found |= {"triples": torch.stack([head, relation, tail], 1), "translated": network._get_score(*vectors)}
        fields += ["entity_id", "relation_id"]
    tokens = {f"tokens/{field}": np.asarray(dataset.field2id_token[field], dtype=str) for field in fields}
    return {**{name: tensor.numpy() for name, tensor in found.items()}, **tokens}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inter", type=Path, required=True)
    parser.add_argument("--model", required=True, choices=list(rival_recbole.MODELS))
    parser.add_argument("--hidden", type=int, nargs="*", default=[], help="widths of the layers of NeuMF and NGCF")
    parser.add_argument("--out", type=Path, required=True)
    o = parser.parse_args()
    del sys.argv[1:]  # RecBole would read them as its own options
    os.chdir(o.inter.parent.parent)  # RecBole writes its logs into the current folder
    logging.disable(logging.CRITICAL)
    np.savez(o.out, **scored(o))


if __name__ == "__main__":
    main()
