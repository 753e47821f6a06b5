"""Backbones: how ids become scores. Named in configs by full module path."""
