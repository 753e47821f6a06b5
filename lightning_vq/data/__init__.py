"""LightningDataModules, one per task family."""

from lightning_vq.data.collaborative import CollaborativeData
from lightning_vq.data.ctr import ClickThroughData

__all__ = ["ClickThroughData", "CollaborativeData"]
