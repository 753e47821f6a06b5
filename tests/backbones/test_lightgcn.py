"""LightGCN against an independent dense implementation of He et al., eq. 3-8."""

import numpy as np
import pytest
import torch

from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.lookup import Lookup
from lightning_vq.types import Facts, Pairs

USERS, ITEMS, DIM = 9, 7, 5


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_scores_and_gradients(layers: int) -> None:
    rng = np.random.default_rng(0)
    graph = (rng.random((USERS, ITEMS)) < 0.4).astype(float)
    graph[2], graph[:, 3] = 0, 0  # a user and an item without edges
    pairs = torch.tensor(np.argwhere(graph))
    backbone = LightGCN(DIM, layers)
    facts = Facts({"user": USERS, "item": ITEMS}, {}, {}, ("pairs", "graph"), torch.cat([pairs, pairs[:3]]))  # repeats
    backbone.prepare(facts)
    user, item = torch.randn(USERS, DIM).requires_grad_(), torch.randn(ITEMS, DIM).requires_grad_()
    users, items = torch.tensor([0, 2, 8]), torch.tensor([[1, 3], [0, 6], [5, 5]])
    output = backbone(Lookup({"user": user, "item": item}, {}), Pairs(users, items))
    scores = torch.einsum("bd,bcd->bc", output.hidden, output.keys)
    grads = torch.autograd.grad(scores.sin().sum(), (user, item))

    u, v = user.detach().double().requires_grad_(), item.detach().double().requires_grad_()
    r = torch.tensor(graph)
    du, di = r.sum(1).clamp_min(1), r.sum(0).clamp_min(1)
    norm = r / du.sqrt()[:, None] / di.sqrt()[None, :]
    us, vs = [u], [v]
    for _ in range(layers):
        us, vs = [*us, norm @ vs[-1]], [*vs, norm.T @ us[-1]]
    p, q = sum(us) / (layers + 1), sum(vs) / (layers + 1)
    expected = (p[users][:, None] * q[items]).sum(-1)
    torch.testing.assert_close(scores, expected.float())
    theirs = torch.autograd.grad(expected.sin().sum(), (u, v))
    for ours, their in zip(grads, theirs):
        torch.testing.assert_close(ours, their.float())


def test_every_item_and_candidates_agree() -> None:
    backbone = LightGCN(DIM, 2)
    backbone.prepare(Facts({"user": 3, "item": 4}, {}, {}, (), torch.tensor([[0, 1], [1, 1], [2, 3]])))
    look = Lookup({"user": torch.randn(3, DIM), "item": torch.randn(4, DIM)}, {})
    users = torch.tensor([0, 2])
    whole = backbone(look, Pairs(users, None))
    some = backbone(look, Pairs(users, torch.arange(4).repeat(2, 1)))
    torch.testing.assert_close(whole.keys[None].expand(2, -1, -1), some.keys)
