"""FANS: the given half of a list and a <MASK> for each item to come, all filled in one pass.

Liu et al., "FANS: Fast Non-Autoregressive Sequence Generation for Item List Continuation", WWW 2023. As in CAGE
(section 5.1.3) the classifier is plain and there are no clusters of items, unless they are asked for: `two_stage`, and
`model.init_args.categories` for vectors of clusters that are added to the items'. BERT's encoder and head (see
encoder.py) on vectors of items, positions and of the two parts of a list. In training what the data says is known is
given (half of a list), and of the n others the last floor(rho n) are masked and learned while the earlier ones are
shown, in T steps of the training: rho = (floor(progress T) + 1) / T, and 1 in one that has no end set (no max_epochs,
no max_steps). In evaluation all n are masked. As in the authors' code some given items are hidden too in training and
learned with the others (`known_probability`; four of five as <MASK>, see `clozed`).

Departures: one at least is masked; no [CLS] and [SEP], and one <MASK> for both parts, whose vectors tell them apart;
the loss is a mean over all that is learned, where the authors add the means of given and masked items.
Shapes: B batch, T items of a list, D dim, N items.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lightning_vq.backbones.attention import check_attention
from lightning_vq.backbones.encoder import Encoder
from lightning_vq.backbones.lists import Parallel
from lightning_vq.backbones.sequences import check_share, check_sizes, clozed
from lightning_vq.backbones.two_stage import TwoStage
from lightning_vq.lookup import Lookup, rows_of
from lightning_vq.types import Facts, Lists


class FANS(Parallel):
    """Self-attention over given items and holes for those to come, learned with ever more holes.

    Args:
        dim: width of an item's vector (D).
        layers: blocks.
        heads: of each block's attention; they divide dim.
        dropout: share that is dropped in training of what comes in, of attention's weights and of each part's output.
        steps: of the curriculum (T); 1 masks all items to come from the start.
        known_probability: that a given item is hidden in training.
        tied: score by the vectors that come in.
        two_stage: predict an item's cluster, then the item in it; the data must have clusters.
    """

    def __init__(
        self,
        dim: int = 64,
        layers: int = 3,
        heads: int = 8,
        dropout: float = 0.1,
        steps: int = 5,
        known_probability: float = 0.15,
        tied: bool = False,
        two_stage: bool = False,
    ) -> None:
        super().__init__(dim, tied, tokens=1)
        check_attention(dim, layers, heads, dropout)
        check_sizes(steps=steps)
        check_share("known_probability", known_probability)
        self.layers, self.heads, self.dropout = layers, heads, dropout
        self.steps, self.known_probability = steps, known_probability
        self.two_stage = self.softmax_only = two_stage

    def prepare(self, facts: Facts) -> None:
        super().prepare(facts)
        self.encoder = Encoder(self.dim, self.layers, self.heads, self.dropout, self.length)
        if self.two_stage:
            self.stages = TwoStage(self.dim, facts)
        self.parts = nn.Parameter(nn.init.trunc_normal_(torch.empty(2, self.dim), std=0.02, a=-0.04, b=0.04))

    def scores(self, hidden: Tensor, keys: Tensor, bias: Tensor | None) -> Tensor:
        plain = super().scores(hidden, keys, bias)
        return self.stages.log_odds(hidden, plain) if self.two_stage else plain

    def softmax(self, hidden: Tensor, keys: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        form = self.stages.loss if self.two_stage else super().softmax
        return form(hidden, keys, bias, targets)

    def masked(self, counts: Tensor) -> Tensor:
        """Return how many (B,) of the items to come, of which there are `counts` (B,), are masked."""
        step = min(int(self.progress * self.steps + 1e-9) + 1, self.steps) if self.training else self.steps
        return torch.minimum((counts * step // self.steps).clamp_min(1), counts)

    def learned(self, look: Lookup, batch: Lists) -> tuple[Tensor, Tensor]:
        items, lengths = batch.items, batch.lengths
        numbers = torch.arange(items.shape[1], device=items.device)
        known = batch.known
        masked = (items >= 0) & (numbers >= (lengths - self.masked(lengths - known))[:, None])
        shown, chosen = items.masked_fill(masked, self.items), masked
        if self.training and self.known_probability:
            given = numbers < known[:, None]
            hidden = given & (torch.rand(items.shape, device=items.device) < self.known_probability)
            shown, chosen = clozed(shown, hidden, self.items), masked | hidden
        places = chosen.reshape(-1).nonzero()[:, 0]
        return self.encoded(look, shown, known, places), places

    def fill(self, look: Lookup, items: Tensor, counts: Tensor) -> Tensor:
        """Past a list's own count the vectors are zeros."""
        known, most = (items >= 0).sum(1), int(counts.max())
        ends = known + counts
        width = int(ends.max())
        numbers = torch.arange(width, device=items.device)
        masked = (numbers >= known[:, None]) & (numbers < ends[:, None])
        shown = pad(items, (0, width - items.shape[1]), value=-1).masked_fill(masked, self.items)
        coming = torch.arange(most, device=items.device) < counts[:, None]  # (B, most)
        hidden = self.encoded(look, shown, known, masked.reshape(-1).nonzero()[:, 0])
        whole = hidden.new_zeros(coming.numel(), self.dim).index_copy(0, coming.reshape(-1).nonzero()[:, 0], hidden)
        return whole.view(*coming.shape, self.dim)

    def encoded(self, look: Lookup, items: Tensor, known: Tensor, places: Tensor) -> Tensor:
        """Return hidden vectors (M, D) at places (M,) of items and masks (B, T), of which so many (B,) are given."""
        later = torch.arange(items.shape[1], device=items.device) >= known[:, None]
        vectors = look.padded("item", items) + rows_of(self.parts, later.long())
        hidden: Tensor = self.encoder(vectors, items >= 0, places)
        return hidden
