"""LightningModules, one per task family."""

from lightning_vq.modules.base import Recommender
from lightning_vq.modules.collaborative import CollaborativeFiltering

__all__ = ["CollaborativeFiltering", "Recommender"]
