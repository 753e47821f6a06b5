"""Metrics of predicted scores, in the units of the scores. All sums are in float64.

Shapes: E pairs, U users.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_vq.collected import Collected


def rmse(predictions: Tensor, scores: Tensor) -> Tensor:
    """Root mean square error, sqrt(mean((p - s)^2)) over pairs (E,).

    >>> rmse(torch.tensor([1.0, 5.0]), torch.tensor([4.0, 1.0])).item()
    3.5355339059327378
    """
    return (predictions.double() - scores.double()).square().mean().sqrt()


def mae(predictions: Tensor, scores: Tensor) -> Tensor:
    """Mean absolute error, mean(|p - s|) over pairs (E,).

    >>> mae(torch.tensor([1.0, 5.0]), torch.tensor([4.0, 1.0])).item()
    3.5
    """
    return (predictions.double() - scores.double()).abs().mean()


def user_mse(predictions: Tensor, scores: Tensor, users: Tensor) -> Tensor:
    """Return the mean squared error of each user's pairs (U,), users rising.

    Their mean counts every user alike, however many pairs she has (macro average; Shani and Gunawardana, Recommender
    Systems Handbook, 2011, section 8.3.2.1), and users are the units that a paired test can take for independent.

    >>> predictions, scores = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 4.0, 0.0])
    >>> user_mse(predictions, scores, torch.tensor([7, 7, 4])).tolist()
    [9.0, 2.0]
    """
    _, of = torch.unique(users, return_inverse=True)
    counts = torch.bincount(of).double()
    return torch.zeros_like(counts).index_add_(0, of, (predictions.double() - scores.double()).square()) / counts


class Predictions(NamedTuple):
    """Predicted pairs, each once."""

    cases: Tensor  # (E,) rising
    users: Tensor  # (E,)
    predictions: Tensor  # (E,)
    scores: Tensor  # (E,)


class Predicted(Collected):
    """Collects the prediction of each pair."""

    kind = Predictions

    def update(self, cases: Tensor, users: Tensor, predictions: Tensor, scores: Tensor) -> None:
        """Take pairs (B,)."""
        self.take(cases, users, predictions.double(), scores.double())
