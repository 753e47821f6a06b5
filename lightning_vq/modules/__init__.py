"""LightningModules, one per task family."""

from lightning_vq.modules.base import Recommender
from lightning_vq.modules.collaborative import CollaborativeFiltering
from lightning_vq.modules.ctr import ClickThroughRate
from lightning_vq.modules.list_completion import ListCompletion
from lightning_vq.modules.relevance import RelevanceRegression
from lightning_vq.modules.timed import TimedFiltering
from lightning_vq.modules.vectors import VectorQuantization

__all__ = [
    "ClickThroughRate",
    "CollaborativeFiltering",
    "ListCompletion",
    "Recommender",
    "RelevanceRegression",
    "TimedFiltering",
    "VectorQuantization",
]
