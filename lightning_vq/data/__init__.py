"""LightningDataModules, one per task family."""

from lightning_vq.data.collaborative import CollaborativeData
from lightning_vq.data.ctr import ClickThroughData
from lightning_vq.data.lists import ListData
from lightning_vq.data.relevance import RelevanceData
from lightning_vq.data.timed import TimedData
from lightning_vq.data.vectors import VectorData

__all__ = ["ClickThroughData", "CollaborativeData", "ListData", "RelevanceData", "TimedData", "VectorData"]
