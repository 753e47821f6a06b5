"""Vector quantizers: plain torch modules behind one contract (`base.Quantizer`)."""

from lightning_vq.quantizers.base import Quantizer
from lightning_vq.quantizers.cascaded import Cascaded
from lightning_vq.quantizers.classifier import TreeClassifier
from lightning_vq.quantizers.dpq import DPQ
from lightning_vq.quantizers.dqvae import DQVAE
from lightning_vq.quantizers.lowrank import LowRank
from lightning_vq.quantizers.mgqe import MGQE
from lightning_vq.quantizers.residual import Residual
from lightning_vq.quantizers.scalar import Scalar

__all__ = ["DPQ", "DQVAE", "MGQE", "Cascaded", "LowRank", "Quantizer", "Residual", "Scalar", "TreeClassifier"]
