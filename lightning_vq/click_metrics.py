"""Metrics of click-through rate: how well scores separate, how good they are as probabilities, how lists are ranked.

All sums are in float64. Shapes: E rows, P clicked rows, G groups, K bins.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lightning_vq.collected import Collected


def auc(scores: Tensor, labels: Tensor) -> Tensor:
    """Area under the ROC curve: how often a clicked row (E,) scores above one that is not, ties counted half.

    NaN where there are no such pairs.

    >>> auc(torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([0, 0, 1, 1])).item()
    0.875
    """
    return _area(scores, labels, torch.zeros_like(labels, dtype=torch.long))[0][0]


def grouped_auc(scores: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """Mean of the groups' AUC, weighted by their rows; groups of one label alone are left out (Zhu et al., KDD 2017).

    >>> scores, labels = torch.tensor([0.1, 0.4, 0.9, 0.8, 0.7]), torch.tensor([0, 1, 0, 1, 1])
    >>> grouped_auc(scores, labels, torch.tensor([3, 3, 5, 5, 7])).item()
    0.5
    """
    areas, sizes = _area(scores, labels, groups)
    there = ~areas.isnan()
    return (areas[there] * sizes[there]).sum() / sizes[there].sum()


def _area(scores: Tensor, labels: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return AUC (G,) float64 of each group, NaN for one label alone, and its rows (G,)."""
    order = torch.argsort(scores, stable=True)
    order = order[torch.argsort(groups[order], stable=True)]
    scores, labels, groups = scores[order], labels[order].double(), groups[order]
    _, group = torch.unique_consecutive(groups, return_inverse=True)
    tie = torch.ones_like(group)  # 0 where a row has the score of the one before
    tie[1:] = ((scores[1:] != scores[:-1]) | (group[1:] != group[:-1])).long()
    tie = tie.cumsum(0) - 1
    sizes = torch.bincount(tie).double()
    ends = sizes.cumsum(0)
    sizes_of = torch.bincount(group).double()
    before = (sizes_of.cumsum(0) - sizes_of)[group]  # rows of earlier groups
    ranks = (ends - (sizes - 1) / 2)[tie] - before  # mean rank of a tie, from 1
    positives = torch.zeros_like(sizes_of).index_add_(0, group, labels)
    sums = torch.zeros_like(sizes_of).index_add_(0, group, ranks * labels)
    pairs = positives * (sizes_of - positives)
    areas = (sums - positives * (positives + 1) / 2) / pairs.clamp_min(1)
    return torch.where(pairs > 0, areas, torch.nan), sizes_of


def log_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits (E,)."""
    return binary_cross_entropy_with_logits(logits.double(), labels.double())


class Calibration(NamedTuple):
    """Predicted probabilities beside what came, in K bins of equal width."""

    predicted: Tensor  # (K,) mean probability; NaN for an empty bin
    observed: Tensor  # (K,) share of clicks
    rows: Tensor  # (K,)

    def error(self) -> Tensor:
        """Return the expected calibration error (Guo et al., ICML 2017), the mean gap weighted by rows."""
        there = self.rows > 0
        gaps = (self.predicted[there] - self.observed[there]).abs()
        return (gaps * self.rows[there]).sum() / self.rows.sum()


def calibration(logits: Tensor, labels: Tensor, bins: int = 20) -> Calibration:
    """Return the calibration of logits (E,).

    >>> found = calibration(torch.logit(torch.tensor([0.1, 0.1, 0.7, 0.7])), torch.tensor([0, 1, 1, 1]), 2)
    >>> found.observed.tolist(), round(found.error().item(), 6)
    ([0.5, 1.0], 0.35)
    """
    chances = torch.sigmoid(logits.double())
    place = (chances * bins).long().clamp_max(bins - 1)
    rows = torch.bincount(place, minlength=bins).double()
    predicted, observed = (
        torch.zeros_like(rows).index_add_(0, place, values) / rows for values in (chances, labels.double())
    )
    return Calibration(predicted, observed, rows)


def clicked_ranks(scores: Tensor, labels: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the place (P,) in the rows of each clicked one, its group and its rank there, groups rising.

    Ties count against the model: a row that is not clicked stands before a clicked one of the same score.

    >>> clicked_ranks(torch.tensor([0.5, 0.5, 0.9, 0.1]), torch.tensor([1, 0, 0, 1]), torch.tensor([4, 4, 2, 2]))
    (tensor([3, 0]), tensor([2, 4]), tensor([2, 2]))
    """
    order = torch.argsort(labels, stable=True)
    for key in (-scores, groups):
        order = order[torch.argsort(key[order], stable=True)]
    _, sizes = torch.unique_consecutive(groups[order], return_counts=True)
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    ranks = torch.arange(1, len(order) + 1, device=order.device) - starts
    clicked = labels[order] > 0
    places = order[clicked]
    return places, groups[places], ranks[clicked]


class Scores(NamedTuple):
    """Scored rows, each once."""

    cases: Tensor  # (E,) rising
    logits: Tensor  # (E,)
    labels: Tensor  # (E,)
    groups: Tensor  # (E,) -1 for a row of none


class Scored(Collected):
    """Collects the logit of each row."""

    kind = Scores

    def update(self, cases: Tensor, logits: Tensor, labels: Tensor, groups: Tensor) -> None:
        """Take rows (B,)."""
        self.take(cases, logits.float(), labels, groups)
