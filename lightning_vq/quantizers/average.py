"""Codebooks as moving averages instead of by gradient: van den Oord et al. 2017, appendix A.1. Shapes: M, K, W."""

import torch
from torch import Tensor, nn

FORGOTTEN = 1e-12  # of n_k, below which m_k / n_k is noise


class MovingAverage(nn.Module):
    """c_k = m_k / n_k with n_k <- g n_k + (1 - g) |S_k| and m_k <- g m_k + (1 - g) sum of S_k,

    S_k the vectors of the step that chose code k. A code that none has chosen for long stays where it is (the usual
    Laplace smoothing would draw it to zero). On several ranks the sums are those of the global batch.

    Args:
        codes: K.
        width: W.
        decay: g.
    """

    size: Tensor
    total: Tensor

    def __init__(self, codes: int, width: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.shared = True  # False: ranks see the same batches, and not each its own
        self.register_buffer("size", torch.zeros(codes))
        self.register_buffer("total", torch.zeros(codes, width))

    @torch.no_grad()
    def start(self, book: Tensor, rows: Tensor | slice = slice(None)) -> None:
        """Take the codes (K, W) as they are, each with the weight of one vector; all of them, or some rows."""
        self.size[rows] = 1.0
        self.total[rows] = book[rows].to(self.total)

    @torch.no_grad()
    def update(self, book: Tensor, vectors: Tensor, codes: Tensor, weights: Tensor) -> None:
        """Move the codes (K, W) in place toward vectors (M, W) that chose codes (M,), weighted (M,)."""
        size = self.size.new_zeros(self.size.shape).index_add_(0, codes, weights.to(self.size))
        total = self.total.new_zeros(self.total.shape).index_add_(0, codes, (vectors * weights[:, None]).to(self.total))
        if self.shared and torch.distributed.is_available() and torch.distributed.is_initialized():
            for statistic in (size, total):
                torch.distributed.all_reduce(statistic)
        self.size.lerp_(size, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        known = self.size[:, None] > FORGOTTEN
        book.copy_(torch.where(known, self.total / self.size[:, None], book))
