"""Who made lists: those who made one that is trained on have a row, all others are unknown. Shapes: M stretches."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from lightning_vq.data.list_loader import Stretches
from lightning_vq.data.splits import TRAIN
from lightning_vq.sources.lists import RawLists
from lightning_vq.vocabulary import Vocabulary


def known_creators(raw: RawLists, parts: dict[int, Stretches]) -> Vocabulary | None:
    """Return who made the lists that are trained on, with their numbers of these; None where nobody tells.

    Args:
        raw: the lists.
        parts: stretches of them, which are given the rows of their creators.
    """
    if raw.creators is None:
        return None
    of_train = raw.creators.take(pa.array(parts[TRAIN].cases.numpy())).drop_null()
    if not len(of_train):
        return None
    counted = of_train.value_counts()
    ids = counted.field("values")
    order = pc.sort_indices(ids)
    ids, counts = ids.take(order), counted.field("counts").take(order)
    for part, stretches in parts.items():
        rows = pc.fill_null(pc.index_in(raw.creators.take(pa.array(stretches.cases.numpy())), ids), -1)
        parts[part] = stretches._replace(creators=torch.tensor(rows.to_numpy(zero_copy_only=False), dtype=torch.int64))
    return Vocabulary(ids, np.array(counts), None)
