"""Id tables of which every process holds a share of the rows, for tables whose training no device holds.

Each process of a mesh trains on the same batches: it looks up the rows that it has, zeros for the others, and the sum
over processes is what one process with the whole table would have. Tables are DTensors, so that Lightning's
ModelParallelStrategy saves and loads them whole. Shapes: N rows, D dim, (...) ids of any shape, M of them, W processes.
"""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm


def is_sharded(table: Tensor) -> TypeGuard[DTensor]:
    """Return whether a table (N, D) is cut by rows."""
    return isinstance(table, DTensor)


def shard(table: nn.Parameter, mesh: DeviceMesh) -> nn.Parameter:
    """Return a table (N, D) of which each process of a mesh keeps ceil(N / W) rows, the last one what is left.

    A table of so few rows that a process would have none stays as it is.
    """
    if (mesh.size() - 1) * _share(table, mesh) >= len(table):
        return table
    return nn.Parameter(distribute_tensor(table.detach(), mesh, [Shard(0)]))


def whole(table: Tensor) -> Tensor:
    """Return the whole table (N, D), on every process. All processes of the mesh must ask for it."""
    return table.full_tensor() if is_sharded(table) else table


def sharded_rows(table: DTensor, ids: Tensor) -> Tensor:
    """Return rows (..., D) of a table (N, D) that is cut. All processes of the mesh must ask for the same."""
    outside = (ids < 0) | (ids >= len(table))  # which no process has: their sum would be zeros
    if ids.device.type != "cpu":
        torch._assert_async(~outside.any())
    elif outside.any():
        raise IndexError(f"id {int(ids[outside][0])} of a table of {len(table)} rows")
    local = table.to_local()
    here = ids.reshape(-1) - table.device_mesh.get_local_rank() * _share(table, table.device_mesh)
    mine = ((here >= 0) & (here < len(local))).nonzero()[:, 0]
    found = local.new_zeros(len(here), table.shape[1]).index_copy(0, mine, local.index_select(0, here[mine]))
    rows: Tensor = _Summed.apply(found, table.device_mesh.get_group())
    return rows.view(*ids.shape, table.shape[1])


def clip_gradients(parameters: list[nn.Parameter], largest: float) -> None:
    """Scale gradients so that their norm, that of whole tables, is no larger; as `clip_grad_norm_` does."""
    cut = [p for p in parameters if p.grad is not None and is_sharded(p)]
    plain = [p for p in parameters if p.grad is not None and not is_sharded(p)]
    parts = [whole(get_total_norm([p.grad for p in some])) for some in (cut, plain) if some]  # type: ignore[misc]
    for some in (cut, plain):  # one call takes tensors of one kind
        clip_grads_with_norm_(some, largest, torch.stack(parts).norm())


def _share(table: Tensor, mesh: DeviceMesh) -> int:
    """Return how many rows every process but the last ones has, as Shard(0) cuts."""
    return -(-len(table) // mesh.size())


class _Summed(torch.autograd.Function):
    """The sum over processes. What follows is the same on all of them, so that its gradient goes back as it is."""

    @staticmethod
    def forward(ctx: Any, found: Tensor, group: Any) -> Tensor:
        ctx.mark_dirty(found)
        torch.distributed.all_reduce(found, group=group)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None
