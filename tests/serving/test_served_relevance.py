"""A model of relevance is served in the units of the data."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from relevances import fitted, raw_scores, relevance
from served import served

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.gmf import GMF
from lightning_vq.backbones.collaborative.neumf import NeuMF
from lightning_vq.data.relevance import SCORE
from lightning_vq.export.command import check
from lightning_vq.modules.served import products
from lightning_vq.quantizers import DPQ
from lightning_vq.types import ScoredPairs

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "GMF": partial(GMF, 12),
    "BPRMF": partial(BPRMF, 12),
    "NeuMF": partial(NeuMF, 12, layers=(8,)),
}


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("name", BACKBONES)
def test_scores_are_the_models(name: str, quantized: bool, tmp_path: Path) -> None:
    held, dpq = relevance(), partial(DPQ, subspaces=4, centroids=16)
    module, _ = fitted(held, {"user": dpq, "item": dpq} if quantized else {}, BACKBONES[name])
    ids = {vocab: one.ids for vocab, one in held.vocabularies().items()}
    artifact, some = served(tmp_path, module, held), torch.arange(20)
    pairs = ScoredPairs(some, some.flip(0), torch.zeros(20, dtype=torch.float64), some)
    assert module.facts is not None
    mean, deviation = module.facts.moments[SCORE]
    assert deviation > 2  # scores of another unit than what is learned
    for user, item, value in zip(pairs.users, pairs.items, raw_scores(module, pairs)):
        [found] = artifact.score(ids["user"][int(user)].as_py(), [ids["item"][int(item)].as_py()])
        assert found == pytest.approx(mean + deviation * float(value), abs=1e-3)
    check(artifact, module, ids, products(module))  # as export does
    assert len(artifact.recommend(ids["user"][0].as_py(), 5)) == 5  # there is no history to leave out
