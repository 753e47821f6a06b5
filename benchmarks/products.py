"""What the matrix products of training steps take by themselves: caught while a step runs, and done again."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from timing import timed
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_vq.modules import ListCompletion
from lightning_vq.types import Block

PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default}
Operand = tuple[tuple[int, ...], tuple[int, ...]]  # shape and strides


class Products(TorchDispatchMode):
    """Counts products by the shapes and strides of what is multiplied, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[Any, tuple[Operand, ...]]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PRODUCTS:
            self.counts[func, tuple((tuple(one.shape), one.stride()) for one in args)] += 1
        return func(*args, **(kwargs or {}))

    def seconds(self) -> float:
        """Return what all products counted take, each kind timed alone on operands that it finds in the cache."""
        return sum(count * repeated(func, operands) for (func, operands), count in self.counts.items())


def repeated(func: Any, operands: tuple[Operand, ...]) -> float:
    """Return the median seconds of a product of random operands."""
    made = [random_like(*operand) for operand in operands]
    return timed(lambda: func(*made), 3)


def random_like(shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """Return random numbers laid out in memory as the operand was."""
    return torch.empty_strided(shape, strides).normal_()


def product_seconds(module: ListCompletion, blocks: Iterable[Block]) -> float:
    """Return the seconds of the products of an epoch's steps: layers, attention and the scores of all items."""
    module.train()
    with Products() as caught:
        for block in blocks:
            for batch in block.batches():
                torch.stack(list(module.step_losses(batch, []).values())).sum().backward()
                module.zero_grad()
    return caught.seconds()
