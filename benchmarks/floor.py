"""Hand-written loops without a framework: what the same work costs at least. Timed by speed.py.

Shapes: E training pairs, U users, N items, B batch, D dim.
"""

import time
from typing import Any

import torch
from timing import intervals
from torch import Tensor
from torch.nn.functional import softplus

LAYERS = 3


class Product(torch.autograd.Function):
    """A @ x for a constant symmetric CSR matrix."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, x: Tensor) -> Tensor:
        ctx.a = a
        return a @ x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, ctx.a @ grads[0]


def floor_epoch(
    users: Tensor, items: Tensor, shape: tuple[int, int], adjacency: Tensor | None, dim: int, batch: int, epochs: int
) -> float:
    """Return the median seconds of a training epoch: exact negatives by bitmap, BPR loss, fused Adam.

    Args:
        users, items: (E,) training pairs.
        shape: (U, N).
        adjacency: of LightGCN, CSR (U + N, U + N); None trains matrix factorization with an item bias.
        dim: width of the vectors (D).
        batch: pairs of a step (B).
        epochs: timed, after one that is not.
    """
    known = torch.zeros(shape, dtype=torch.bool)
    known[users, items] = True
    weights = [torch.randn(sum(shape), dim) * 0.01]
    if adjacency is None:
        weights.append(torch.zeros(sum(shape), 1))
    optimizer = torch.optim.Adam([w.requires_grad_() for w in weights], lr=1e-3, fused=True)
    starts = []
    for _ in range(epochs + 2):
        starts.append(time.perf_counter())
        drawn = torch.randint(shape[1], users.shape)
        wrong = known[users, drawn].nonzero().squeeze(1)
        while len(wrong):
            drawn[wrong] = torch.randint(shape[1], wrong.shape)
            wrong = wrong[known[users[wrong], drawn[wrong]]]
        order = torch.randperm(len(users))
        triples = torch.stack([users, items + shape[0], drawn + shape[0]], 1)[order]  # (E, 3)
        for rows in triples.split(batch):
            table = weights[0]
            if adjacency is not None:
                first = Product.apply(adjacency, table)
                second = Product.apply(adjacency, first)
                table = (table + first + second + Product.apply(adjacency, second)) / (LAYERS + 1)
            p, q, n = table.index_select(0, rows.view(-1)).view(-1, 3, dim).unbind(1)
            gap = (p * (n - q)).sum(1)
            if adjacency is None:
                bias = weights[1].index_select(0, rows[:, 1:].reshape(-1)).view(-1, 2)
                gap = gap + bias[:, 1] - bias[:, 0]
            optimizer.zero_grad()
            softplus(gap).mean().backward()
            optimizer.step()
    return intervals(starts)


def floor_evaluation(
    users: Tensor, keys: Tensor, bias: Tensor, mask: tuple[Tensor, Tensor], positive: Tensor
) -> Tensor:
    """Return NDCG@10 by one product, a ready-made mask and a count."""
    scores = torch.addmm(bias, users, keys.T)
    scores[mask] = -torch.inf
    ranks = (scores >= scores.gather(1, positive[:, None])).sum(1)
    return torch.where(ranks <= 10, 1 / torch.log2(ranks + 1.0), 0.0).mean()
