"""Backbones of list completion: the items of a list so far, a vector for each that is to come."""
