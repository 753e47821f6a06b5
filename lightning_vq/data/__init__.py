"""LightningDataModules, one per task family."""

from lightning_vq.data.collaborative import CollaborativeData

__all__ = ["CollaborativeData"]
