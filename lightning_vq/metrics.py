"""Ranking metrics of held-out interactions, one relevant item each. Shapes: U of them, N items, C candidates."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


def rank_of_first(scores: Tensor) -> Tensor:
    """Return the rank (U,) of column 0 among scores (U, C): how many candidates score at least as much.

    Ties count against the model, so a constant scorer is ranked last, never first.

    >>> rank_of_first(torch.tensor([[0.5, 0.9, 0.5], [1.0, 0.0, 0.0]]))
    tensor([3, 1])
    """
    return (scores >= scores[:, :1]).sum(1)


def hit_ratio(ranks: Tensor, k: int) -> Tensor:
    """HR@k per case: 1 if rank <= k, else 0.

    >>> hit_ratio(torch.tensor([1, 5, 6]), 5)
    tensor([1., 1., 0.])
    """
    return (ranks <= k).float()


def ndcg(ranks: Tensor, k: int) -> Tensor:
    """NDCG@k per case with one relevant item: 1 / log2(rank + 1) if rank <= k, else 0.

    >>> ndcg(torch.tensor([1, 3, 6]), 5)
    tensor([1.0000, 0.5000, 0.0000])
    """
    return torch.where(ranks <= k, 1.0 / torch.log2(ranks + 1.0), 0.0)


class Ranks(Metric):
    """Collects the rank of each held-out interaction over all processes; one that is seen twice counts once."""

    full_state_update = False
    cases: list[Tensor]
    ranks: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("cases", default=[], dist_reduce_fx="cat")
        self.add_state("ranks", default=[], dist_reduce_fx="cat")

    def update(self, cases: Tensor, ranks: Tensor) -> None:
        self.cases.append(cases)
        self.ranks.append(ranks)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the cases (U,) in rising order and their ranks (U,)."""
        cases, ranks = dim_zero_cat(self.cases), dim_zero_cat(self.ranks)
        order = torch.argsort(cases, stable=True)
        cases, ranks = cases[order], ranks[order]
        first = torch.ones_like(cases, dtype=torch.bool)
        first[1:] = cases[1:] != cases[:-1]
        return cases[first], ranks[first]
