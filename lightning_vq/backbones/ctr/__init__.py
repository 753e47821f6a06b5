"""Backbones of click-through rate: the fields of a sample, a logit."""
