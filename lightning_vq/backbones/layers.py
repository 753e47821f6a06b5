"""Parts that several backbones share: first values of a table, dropout, and propagation over a graph."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from lightning_vq.types import TableSpec


def new_table(spec: TableSpec, rows: int) -> nn.Parameter:
    """Return a table (rows, D) at the first values that its spec asks for, from the global torch generator."""
    weight = torch.empty(rows, spec.dim)
    if spec.init == "xavier":
        nn.init.xavier_uniform_(weight)
    else:
        nn.init.normal_(weight, std=0.01)
    return nn.Parameter(weight)


def dropped(x: Tensor, share: float, training: bool) -> Tensor:
    """Return dropout of x (...); on CPU in less than a third of torch's time, which draws a number for each element.

    A draw of 64 bits serves four elements, so that the share is rounded to 1/65,536; the scale goes by what it is.
    """
    odds = min(round(share * 65536), 65535)
    if not training or not odds:
        return x
    if x.device.type != "cpu":
        return dropout(x, share)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    keep = words.view(torch.int16)[: x.numel()].view(x.shape) >= odds - 32768
    return x * keep.to(x.dtype).mul_(65536 / (65536 - odds))


def symmetric_adjacency(pairs: Tensor, users: int, items: int) -> Tensor:
    """Return the normalized bipartite adjacency D^-1/2 A D^-1/2 as CSR (users + items, users + items).

    Items follow users. Every distinct pair (E, 2) is one edge each way; a node without edges has an empty row.
    """
    user, item = torch.unique(pairs.long(), dim=0).unbind(1)
    row, column = torch.cat([user, item + users]), torch.cat([item + users, user])
    size = users + items
    degree = torch.bincount(row, minlength=size).double()
    values = (degree[row] * degree[column]).rsqrt().float()
    order = torch.argsort(row * size + column)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), torch.bincount(row, minlength=size).cumsum(0)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(starts, column[order], values[order], (size, size), check_invariants=False)


class _SymmetricProduct(torch.autograd.Function):
    """A @ x for a constant symmetric A: the gradient is A @ g, with no transposed copy."""

    @staticmethod
    def forward(ctx: Any, adjacency: Tensor, x: Tensor) -> Tensor:
        ctx.adjacency = adjacency
        return adjacency @ x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        return None, ctx.adjacency @ grads[0].contiguous()


def propagate(adjacency: Tensor, x: Tensor) -> Tensor:
    """Return A @ x (N, D) for a symmetric CSR A (N, N), in the precision of A under autocast too."""
    with torch.autocast(x.device.type, enabled=False):
        return _SymmetricProduct.apply(adjacency, x.to(adjacency.dtype))
