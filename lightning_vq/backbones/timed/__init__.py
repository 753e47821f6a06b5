"""Backbones of two towers: users and items as they were at a moment."""
