"""Caser: convolutions over the matrix of the last L items' vectors.

Tang and Wang, "Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding", WSDM 2018,
eq. 1-8. With E (L, D) of the last L items: for each height h of 1..L filters F of (h, D) slide over it, and
o = max over places of ReLU(F * E + b); vertical filters weigh the rows, o = E' w + b (D); z = ReLU(W [o] + b), with
dropout on what the convolutions give, as in the authors' code.

Departures: no user, hence no vector of one beside z (a list has nobody here); the next item is the target, not the next
three, and there are no skips; a list's first windows are padded with zeros, so that all items but the first are
learned. A filter slides over the whole list once, and the maximum over its places is taken for each window.
Shapes: B batch, T items of a list, D dim, L window, V vertical and O horizontal filters.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d, pad

from lightning_vq.backbones.causal import Causal
from lightning_vq.backbones.layers import dropped
from lightning_vq.backbones.sequences import check_share, check_sizes
from lightning_vq.lookup import Lookup


class Caser(Causal):
    """Convolutions over the last few items.

    Args:
        dim: width of an item's vector (D).
        window: how many items are seen (L).
        horizontal: filters of each height (O).
        vertical: filters that weigh the items (V).
        dropout: share of what the convolutions give that is dropped in training.
        tied: score by the vectors that come in.
    """

    def __init__(
        self,
        dim: int = 64,
        window: int = 5,
        horizontal: int = 16,
        vertical: int = 4,
        dropout: float = 0.5,
        tied: bool = False,
    ) -> None:
        super().__init__(dim, tied)
        check_sizes(dim=dim, window=window, horizontal=horizontal, vertical=vertical)
        check_share("dropout", dropout)
        self.window, self.horizontal, self.vertical, self.dropout = window, horizontal, vertical, dropout
        self.rows = nn.ModuleList(nn.Conv1d(dim, horizontal, height) for height in range(1, window + 1))
        self.columns = nn.Linear(window, vertical)
        self.output = nn.Linear(vertical * dim + horizontal * window, dim)

    def encode(self, look: Lookup, items: Tensor, creators: Tensor | None) -> tuple[Tensor, Tensor]:
        padded = pad(look.padded("item", items), (0, 0, self.window - 1, 0))
        return self._convolved(padded), padded

    def state(self, kept: Tensor, items: Tensor, last: Tensor) -> Tensor:
        """Return the vectors (B, L, D) of each list's last items."""
        places = last[:, None] + torch.arange(self.window, device=last.device)
        return kept.gather(1, places[:, :, None].expand(-1, -1, self.dim))

    def advance(self, look: Lookup, state: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        state = torch.cat([state[:, 1:], look("item", items[:, None])], 1)
        return self._convolved(state).squeeze(1), state

    def _convolved(self, x: Tensor) -> Tensor:
        """Return z (B, T, D) of each window of the vectors (B, L - 1 + T, D)."""
        last = x.shape[1] - self.window + 1
        windows = torch.stack([x[:, i : i + last] for i in range(self.window)], 3)  # (B, T, D, L)
        down = self.columns(windows).flatten(2)  # (B, T, D V)
        across, x = [], x.transpose(1, 2)
        for height, filters in enumerate(self.rows, 1):
            across.append(max_pool1d(filters(x).relu_(), self.window - height + 1, stride=1))  # (B, O, T)
        found = torch.cat([down, torch.cat(across, 1).transpose(1, 2)], 2)
        return self.output(dropped(found, self.dropout, self.training)).relu()
