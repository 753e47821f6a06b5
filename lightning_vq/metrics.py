"""Ranking metrics of held-out interactions, from the rank of each: one pass serves every metric at every k.

A list is what is ranked for one user; m of its items are held out, at ranks r_1 < ... < r_m. Shapes: P held-out
interactions, M lists, U users, N items, C candidates, k cut-off.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_vq.collected import Collected
from lightning_vq.errors import UserError

MetricName = Literal["hr", "recall", "ndcg", "mrr", "map"]


def refuse_bad(metrics: Sequence[MetricName], ks: Sequence[int]) -> None:
    """Refuse metrics and cut-offs of a model that are none or doubled.

    Raises:
        UserError: with the key.
    """
    for key, values in (("metrics", metrics), ("ks", ks)):
        if not values or len(set(values)) < len(values):
            raise UserError(f"model.init_args.{key} is {list(values)}; it must name one or more, each once")
    if min(ks) < 1:
        raise UserError(f"model.init_args.ks is {list(ks)}; all must be at least 1")


def rank_of_first(scores: Tensor) -> Tensor:
    """Return the rank (P,) of column 0 among scores (P, C): how many candidates score at least as much.

    Ties count against the model, so a constant scorer is ranked last, never first.

    >>> rank_of_first(torch.tensor([[0.5, 0.9, 0.5], [1.0, 0.0, 0.0]]))
    tensor([3, 1])
    """
    return rank_of(scores, torch.zeros_like(scores[:, 0], dtype=torch.long))


def rank_of(scores: Tensor, items: Tensor) -> Tensor:
    """Return the rank (P,) of an item (P,) of each row of scores (P, N); ties count against the model."""
    return (scores >= scores.gather(1, items[:, None])).sum(1)


def rank_alone(scores: Tensor, barred: Tensor, items: Tensor, among: Tensor | None) -> Tensor:
    """Return the rank (P,) of an item (P,) of each row among the candidates of the row and itself.

    Args:
        scores: (P, N).
        barred: (P, N) the same, -inf for what is no candidate whatever the row.
        items: (P,).
        among: (P, N) bool of candidates; None: all that are not barred.

    >>> scores, barred = torch.tensor([[3.0, 2.0, 2.0, 1.0]]), torch.tensor([[-torch.inf, 2.0, 2.0, 1.0]])
    >>> rank_alone(scores, barred, torch.tensor([1]), None)
    tensor([2])
    """
    own = scores.gather(1, items[:, None])
    above = (barred >= own).scatter(1, items[:, None], False)
    return 1 + (above if among is None else above & among).sum(1)


class Ranked(NamedTuple):
    """Held-out items of lists, by list and rank."""

    lists: Tensor  # (P,) the list of each, rising from 0 without gaps
    ranks: Tensor  # (P,) rising within a list
    places: Tensor  # (P,) j of r_j, from 1
    held: Tensor  # (M,) m of each list


def ranked(lists: Tensor, ranks: Tensor) -> Ranked:
    """Sort held-out items (P,) by list and rank; every list 0..M-1 holds one or more."""
    order = torch.argsort(ranks, stable=True)
    order = order[torch.argsort(lists[order], stable=True)]
    lists, held = lists[order], torch.bincount(lists)
    starts = held.cumsum(0) - held
    return Ranked(lists, ranks[order], torch.arange(1, len(lists) + 1, device=lists.device) - starts[lists], held)


def list_metric(name: MetricName, of: Ranked, k: int) -> Tensor:
    """Return a metric of each list (M,).

    hr@k is 1 if r_1 <= k; recall@k is the share of the m that are within k; mrr@k is 1 / r_1 within k;
    ndcg@k is the sum of 1 / log2(r_j + 1) within k over its largest value, that of ranks 1..min(m, k);
    map@k is the sum of j / r_j within k over min(m, k). With one held-out item recall is hr and map is mrr.

    >>> two = ranked(torch.tensor([0, 1, 1]), torch.tensor([3, 4, 1]))
    >>> {name: list_metric(name, two, 3).tolist() for name in ("hr", "recall", "mrr", "map")}
    {'hr': [1.0, 1.0], 'recall': [1.0, 0.5], 'mrr': [0.3333333432674408, 1.0], 'map': [0.3333333432674408, 0.5]}
    """
    ranks = of.ranks.float()
    if name in ("hr", "recall"):
        gains = torch.ones_like(ranks)
    elif name == "ndcg":
        gains = 1.0 / torch.log2(ranks + 1.0)
    else:
        gains = (of.places if name == "map" else 1.0) / ranks
    if name in ("hr", "mrr"):
        gains = gains * (of.places == 1)
    gains = torch.where(of.ranks <= k, gains, 0.0)
    total = gains.new_zeros(len(of.held)).index_add_(0, of.lists, gains)
    if name == "recall":
        return total / of.held
    if name == "map":
        return total / of.held.clamp_max(k)
    if name == "ndcg":
        best = (1.0 / torch.log2(torch.arange(2.0, k + 2.0, device=ranks.device))).cumsum(0)
        return total / best[of.held.clamp_max(k) - 1]
    return total


class CaseRanks(NamedTuple):
    """Ranks of held-out interactions, each once."""

    cases: Tensor  # (P,) rising
    users: Tensor  # (P,)
    ranks: Tensor  # (P,)


class Ranks(Collected):
    """Collects the rank of each held-out interaction."""

    kind = CaseRanks

    def update(self, cases: Tensor, users: Tensor, ranks: Tensor) -> None:
        """Take held-out interactions (P,)."""
        self.take(cases, users, ranks)


def user_metrics(
    names: Sequence[MetricName], ks: Sequence[int], users: Tensor, ranks: Tensor, one_list: bool
) -> dict[str, Tensor]:
    """Return every metric "ndcg@10" of each user (U,), users rising.

    Args:
        names: of metrics.
        ks: cut-offs.
        users: (P,) of each held-out interaction.
        ranks: (P,) of it.
        one_list: a user's held-out items were ranked in one list; else each against its own candidates, and a user's
            value is the mean over them.
    """
    _, of = torch.unique(users, return_inverse=True)
    lists = ranked(of if one_list else torch.arange(len(of), device=of.device), ranks)
    found = {f"{name}@{k}": list_metric(name, lists, k) for name in names for k in ks}
    if one_list:
        return found
    held = torch.bincount(of)
    return {name: value.new_zeros(len(held)).index_add_(0, of, value) / held for name, value in found.items()}


class Recommended(Metric):
    """How often each item stands among the first k of a user's list, over all processes.

    Args:
        ks: cut-offs.
        items: how many items there are (N).
    """

    full_state_update = False
    times: Tensor

    def __init__(self, ks: Sequence[int], items: int) -> None:
        super().__init__()
        self.ks = tuple(ks)
        self.add_state("times", default=torch.zeros(len(ks), items, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, lists: Tensor) -> None:
        """Add lists (B, max k), best first; -1 stands where a list is shorter."""
        for row, k in zip(self.times, self.ks):
            part = lists[:, :k].flatten()
            row += torch.bincount(part[part >= 0], minlength=len(row))

    def compute(self) -> Tensor:
        """Return the times (len(ks), N)."""
        return self.times


def coverage(times: Tensor) -> Tensor:
    """Share of items that stand in at least one list, of times (N,).

    >>> coverage(torch.tensor([3, 0, 1, 0]))
    tensor(0.5000)
    """
    return (times > 0).float().mean()


def mean_popularity(times: Tensor, counts: Tensor) -> Tensor:
    """Mean training count (N,) of what was recommended, each time counting: popularity bias.

    >>> mean_popularity(torch.tensor([3, 0, 1]), torch.tensor([10, 5, 2]))
    tensor(8.)
    """
    return (times * counts).sum().float() / times.sum()
