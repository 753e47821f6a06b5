"""Vector quantization inside recommenders, on PyTorch Lightning."""

__version__ = "0.1.0"
