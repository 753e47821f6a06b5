"""Lightning callbacks: what quantization adds to training, and what a run leaves behind."""

from lightning_vq.callbacks.quantization import QuantizationCallback

__all__ = ["QuantizationCallback"]
