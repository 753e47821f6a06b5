"""Vector quantizers: plain torch modules behind one contract (`base.Quantizer`)."""

from lightning_vq.quantizers.base import Quantizer
from lightning_vq.quantizers.cascaded import Cascaded

__all__ = ["Cascaded", "Quantizer"]
