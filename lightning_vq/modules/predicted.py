"""Rows of the files that `predict` writes, best first. Shapes: B cases, K places, R rows that are written."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from lightning_vq.data.collaborative import CollaborativeData
from lightning_vq.data.lists import ListData


def recommendations(data: CollaborativeData, parts: list[tuple[Tensor, ...]]) -> dict[str, pa.Array]:
    """Return user, place (1 is best), item and score (R,).

    Args:
        data: whose users and items these are.
        parts: users (B,), items (B, K) and their scores (B, K) of each batch, -inf where a user has fewer unseen ones.
    """
    assert data.raw is not None
    users, items, scores = (torch.cat(column).numpy() for column in zip(*parts))
    kept = np.isfinite(scores)
    rows, places = np.nonzero(kept)
    return {
        "user": data.raw.user_ids.take(pa.array(users[rows])),
        "place": pa.array(places + 1),
        "item": data.raw.item_ids.take(pa.array(items[kept])),
        "score": pa.array(scores[kept]),
    }


def completions(data: ListData, parts: list[tuple[Tensor, ...]]) -> dict[str, Any]:
    """Return list, place (1 is best) and item (R,), and the score where one item is to come.

    A candidate for many places has a score at each, and none over all.

    Args:
        data: whose lists and items these are.
        parts: lists (B,), items (B, K), -1 after the last, and their scores (B, K), if they have one, of each batch.
    """
    cases, items, *scores = (torch.cat(column) for column in zip(*parts))
    lists, places = (items >= 0).nonzero().unbind(1)
    columns = {"list": data.list_ids(cases[lists]), "place": pa.array((places + 1).numpy())}
    columns["item"] = data.item_ids(items[lists, places])
    if scores:
        columns["score"] = pa.array(scores[0][lists, places].float().numpy())
    return columns
