"""Metrics of list completion: candidates of many positions in one list, and how much of what is to come they hit.

The protocol is that of FANS (Liu et al., WWW 2023), which CAGE uses. Shapes: B lists, P positions to come, K choices of
a position, C candidates, T items to come at most.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_vq.collected import Collected

CompletionMetric = Literal["hr", "ndcg"]


def depth_by_depth(choices: Tensor, counts: Tensor, size: int) -> Tensor:
    """Return candidates (B, C): every position's first choice, then every position's second, each item once.

    Args:
        choices: (B, P, K) items, best first.
        counts: (B,) how many positions a list has, from the first on.
        size: how many candidates (C); -1 stands where there are fewer.

    >>> depth_by_depth(torch.tensor([[[4, 1, 2], [4, 3, 1], [9, 9, 9]]]), torch.tensor([2]), 4)
    tensor([[4, 1, 3, 2]])
    """
    there = torch.arange(choices.shape[1], device=choices.device) < counts[:, None]
    flat = torch.where(there[:, :, None], choices, -1).transpose(1, 2).flatten(1)  # (B, K P)
    values, places = flat.sort(dim=1, stable=True)
    first = values >= 0
    first[:, 1:] &= values[:, 1:] != values[:, :-1]
    first = torch.zeros_like(first).scatter_(1, places, first)  # in the order of the candidates
    place = first.cumsum(1) - 1
    lists, columns = (first & (place < size)).nonzero().unbind(1)
    found = flat.new_full((len(flat), size), -1)
    found[lists, place[lists, columns]] = flat[lists, columns]
    return found


def hits(candidates: Tensor, targets: Tensor) -> Tensor:
    """Return whether each candidate (B, C) is among the items to come (B, T), -1 after the last of either."""
    return ((candidates[:, :, None] == targets[:, None]) & (candidates >= 0)[:, :, None]).any(2)


def completion_metric(name: CompletionMetric, hit: Tensor, lengths: Tensor, k: int) -> Tensor:
    """Return a metric of each list (B,), NaN where fewer than k items were to come.

    hr@k is 1 if one of the first k candidates is to come; ndcg@k is the sum of 1 / log2(c + 1) over those at places
    c <= k that are, over its largest value. The largest is that of k hits: the items to come are counted with their
    repeats, though candidates have none.

    >>> hit, lengths = torch.tensor([[False, True, False], [True, True, False]]), torch.tensor([2, 1])
    >>> completion_metric("hr", hit, lengths, 2), completion_metric("ndcg", hit, lengths, 2)
    (tensor([1., nan]), tensor([0.3869,    nan]))
    """
    gains = 1.0 / torch.log2(torch.arange(2.0, k + 2.0, device=hit.device))
    value = hit[:, :k].any(1).float() if name == "hr" else (hit[:, :k] * gains[: hit.shape[1]]).sum(1) / gains.sum()
    return torch.where(lengths >= k, value, torch.nan)


class Completions(NamedTuple):
    """What was told of lists, each once."""

    cases: Tensor  # (B,) rising
    candidates: Tensor  # (B, C), -1 after the last
    hit: Tensor  # (B, C)
    lengths: Tensor  # (B,) how many items were to come

    def metrics(self, names: Sequence[CompletionMetric], ks: Sequence[int]) -> dict[str, Tensor]:
        """Return "ndcg@5" and so on of each list (B,)."""
        return {f"{name}@{k}": completion_metric(name, self.hit, self.lengths, k) for name in names for k in ks}

    def ranks(self, lists: Tensor, items: Tensor, absent: int) -> Tensor:
        """Return the place (P,) of items (P,) among the candidates of their lists (P,), `absent` of one that is not."""
        there = self.candidates[torch.searchsorted(self.cases, lists)] == items[:, None]
        return torch.where(there.any(1), there.int().argmax(1) + 1, absent)


class Completed(Collected):
    """Collects the candidates of each list."""

    kind = Completions

    def update(self, cases: Tensor, candidates: Tensor, targets: Tensor) -> None:
        """Take lists (B,), what was told of them (B, C), and what came (B, T)."""
        self.take(cases, candidates, hits(candidates, targets), (targets >= 0).sum(1))
