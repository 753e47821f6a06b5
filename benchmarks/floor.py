"""Hand-written loops without a framework: what the same work costs at least. Timed by speed.py.

Shapes: E training pairs, U users, N items, B batch, D dim, H width of a layer.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from timing import intervals
from torch import Tensor
from torch.nn.functional import dropout, leaky_relu, linear, normalize, softplus

from lightning_vq.backbones.layers import dropped

LAYERS = 3  # of LightGCN and NGCF
NGCF_DROPOUT = 0.1
HIDDEN, DROPOUT = 64, 0.2  # of NeuMF


class Floor(NamedTuple):
    """A model by hand."""

    shape: tuple[int, int]  # U, N
    weights: list[Tensor]
    loss: Callable[[Tensor], Tensor]  # of triples (B, 3): user, item and negative, items numbered after users


class Product(torch.autograd.Function):
    """A @ x for a constant symmetric CSR matrix."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, x: Tensor) -> Tensor:
        ctx.a = a
        return a @ x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, ctx.a @ grads[0]


def gathered(table: Tensor, triples: Tensor) -> tuple[Tensor, ...]:
    """Return the vectors (B, D) of user, item and negative."""
    return table.index_select(0, triples.view(-1)).view(-1, 3, table.shape[1]).unbind(1)


def bprmf(dim: int, shape: tuple[int, int], adjacency: Tensor | None) -> Floor:
    """Return matrix factorization with an item bias and BPR's loss."""
    table = (torch.randn(sum(shape), dim) * 0.01).requires_grad_()
    biases = torch.zeros(sum(shape), 1, requires_grad=True)

    def loss(triples: Tensor) -> Tensor:
        p, q, n = gathered(table, triples)
        bias = biases.index_select(0, triples[:, 1:].reshape(-1)).view(-1, 2)
        return softplus((p * (n - q)).sum(1) + bias[:, 1] - bias[:, 0]).mean()

    return Floor(shape, [table, biases], loss)


def lightgcn(dim: int, shape: tuple[int, int], adjacency: Tensor | None) -> Floor:
    """Return LightGCN with BPR's loss; the adjacency is CSR (U + N, U + N)."""
    table = (torch.randn(sum(shape), dim) * 0.01).requires_grad_()

    def loss(triples: Tensor) -> Tensor:
        first = Product.apply(adjacency, table)
        second = Product.apply(adjacency, first)
        p, q, n = gathered((table + first + second + Product.apply(adjacency, second)) / (LAYERS + 1), triples)
        return softplus((p * (n - q)).sum(1)).mean()

    return Floor(shape, [table], loss)


def ngcf(dim: int, shape: tuple[int, int], adjacency: Tensor | None) -> Floor:
    """Return NGCF with BPR's loss, both products of a layer as one; the adjacency is CSR (U + N, U + N)."""
    table = (torch.randn(sum(shape), dim) * 0.01).requires_grad_()
    layers = [torch.randn(dim, 2 * dim).mul(0.1).requires_grad_() for _ in range(LAYERS)]
    biases = [torch.zeros(dim, requires_grad=True) for _ in range(LAYERS)]

    def loss(triples: Tensor) -> Tensor:
        x, every = table, [table]
        for layer, bias in zip(layers, biases):
            near = Product.apply(adjacency, x)
            x = linear(torch.cat([near + x, near * x], 1), layer, bias)
            x = dropped(leaky_relu(x, 0.2, inplace=True), NGCF_DROPOUT, True)
            every.append(normalize(x, dim=1))
        p, q, n = gathered(torch.cat(every, 1), triples)
        return softplus((p * (n - q)).sum(1)).mean()

    return Floor(shape, [table, *layers, *biases], loss)


def neumf(dim: int, shape: tuple[int, int], adjacency: Tensor | None) -> Floor:
    """Return NeuMF with one hidden layer and cross-entropy; factors and the perceptron's inputs lie side by side."""
    table = (torch.randn(sum(shape), 2 * dim) * 0.01).requires_grad_()
    layer, bias = (torch.randn(*s).mul(0.01).requires_grad_() for s in ((HIDDEN, 2 * dim), (HIDDEN,)))
    weight, last = (torch.randn(n).mul(0.01).requires_grad_() for n in (dim, HIDDEN))

    def loss(triples: Tensor) -> Tensor:
        both = table.index_select(0, triples.view(-1)).view(-1, 3, 2 * dim)
        user, items = both[:, :1], both[:, 1:]  # (B, 1, 2D), (B, 2, 2D)
        inner = linear(user[..., dim:], layer[:, :dim], bias) + linear(items[..., dim:], layer[:, dim:])  # (B, 2, H)
        scores = (user[..., :dim] * items[..., :dim]) @ weight + dropout(inner.relu(), DROPOUT) @ last  # (B, 2)
        return (softplus(-scores[:, 0]).mean() + softplus(scores[:, 1]).mean()) / 2

    return Floor(shape, [table, layer, bias, weight, last], loss)


def floor_epoch(users: Tensor, items: Tensor, model: Floor, batch: int, epochs: int) -> float:
    """Return the median seconds of a training epoch: exact negatives by bitmap, fused Adam.

    Args:
        users, items: (E,) training pairs.
        model: what is trained.
        batch: pairs of a step (B).
        epochs: timed, after one that is not.
    """
    user_count, item_count = model.shape
    known = torch.zeros(model.shape, dtype=torch.bool)
    known[users, items] = True
    optimizer = torch.optim.Adam(model.weights, lr=1e-3, fused=True)
    starts = []
    for _ in range(epochs + 2):
        starts.append(time.perf_counter())
        drawn = torch.randint(item_count, users.shape)
        wrong = known[users, drawn].nonzero().squeeze(1)
        while len(wrong):
            drawn[wrong] = torch.randint(item_count, wrong.shape)
            wrong = wrong[known[users[wrong], drawn[wrong]]]
        order = torch.randperm(len(users))
        triples = torch.stack([users, items + user_count, drawn + user_count], 1)[order]  # (E, 3)
        for rows in triples.split(batch):
            optimizer.zero_grad()
            model.loss(rows).backward()
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
