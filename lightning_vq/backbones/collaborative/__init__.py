"""Backbones of collaborative filtering: a user, candidate items, a score each."""
