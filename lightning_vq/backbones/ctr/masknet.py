"""MaskNet: blocks ReLU(LN(W (mask * x))), each with a mask that a network of two layers makes of the sample's vectors.

Wang et al., "MaskNet: Introducing Feature-Wise Multiplication to CTR Ranking Models by Instance-Guided Mask",
DLP-KDD 2021, section 3. mask = W_2 ReLU(W_1 v + b_1) + b_2 from v, the vectors of all fields; its hidden layer has
`ratio` times as many units as the mask. A block on the vectors has them as x, each normalized by itself with weights of
its field (as in FuxiCTR); a block on a block has that block's output, and a mask from v all the same. "serial" puts
block on block and ends in a linear layer; "parallel" has all blocks on the vectors and a perceptron on their outputs.

Departures: dropout on each block's output and on the perceptron's layers, as in FuxiCTR (the paper names none).
Shapes: B batch, F fields, D dim, M width of a mask, H width of a block's output.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from lightning_vq.backbones.fields import FieldBackbone, Perceptron, check_perceptron, glorot_linear
from lightning_vq.backbones.layers import dropped
from lightning_vq.errors import UserError

Kind = Literal["serial", "parallel"]


class MaskBlock(nn.Module):
    """A mask, a linear layer, a norm and ReLU.

    Args:
        inputs: width of the vectors that make the mask (F D).
        masked: width of what is masked (M).
        width: of the output (H).
        ratio: units of the mask's hidden layer to one of the mask.
        dropout: share of the output that is dropped in training.
    """

    def __init__(self, inputs: int, masked: int, width: int, ratio: float, dropout: float) -> None:
        super().__init__()
        units = max(1, round(ratio * masked))
        self.aggregated = glorot_linear(inputs, units)  # W_1, b_1
        self.projected = glorot_linear(units, masked)  # W_2, b_2
        self.hidden = glorot_linear(masked, width, bias=False)  # W; the norm has a bias
        self.norm = nn.LayerNorm(width)
        self.dropout = dropout

    def forward(self, vectors: Tensor, x: Tensor) -> Tensor:
        """Return (B, H) of the vectors (B, F D) and what is masked (B, M)."""
        mask = self.projected(self.aggregated(vectors).relu_())
        return dropped(self.norm(self.hidden(mask * x)).relu_(), self.dropout, self.training)


class MaskNet(FieldBackbone):
    """Blocks that multiply what they take in by a mask made for the sample.

    Args:
        dim: width of a field's vector (D).
        kind: whether blocks follow each other or stand side by side.
        ratio: units of a mask's hidden layer to one of the mask.
        hidden: of the serial kind the widths of the blocks, of the parallel kind those of the perceptron's layers.
        blocks: how many the parallel kind has.
        width: of each block's output in the parallel kind (H).
        dropout: share of each block's output, and of the perceptron's layers, that is dropped in training.
    """

    def __init__(
        self,
        dim: int = 64,
        kind: Kind = "serial",
        ratio: float = 2.0,
        hidden: Sequence[int] = (500, 500, 500),
        blocks: int = 3,
        width: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dim)
        check_perceptron(hidden, dropout)
        if kind not in get_args(Kind):
            raise UserError(f"backbone.init_args.kind is {kind!r}; it must be one of {get_args(Kind)}")
        if ratio <= 0:
            raise UserError(f"backbone.init_args.ratio is {ratio}; it must be above 0")
        if blocks < 1 or width < 1:
            raise UserError(f"backbone.init_args: blocks is {blocks} and width {width}; both must be at least 1")
        self.kind, self.ratio, self.hidden, self.blocks = kind, ratio, tuple(hidden), blocks
        self.width, self.dropout = width, dropout

    def make(self, fields: int) -> None:
        inputs = fields * self.dim
        self.gains = nn.Parameter(torch.ones(inputs))  # of the norm of each field's vector
        self.shifts = nn.Parameter(torch.zeros(inputs))
        if self.kind == "serial":
            sizes = list(pairwise((inputs, *self.hidden)))
        else:
            sizes = [(inputs, self.width)] * self.blocks
            self.deep = Perceptron(self.blocks * self.width, self.hidden, self.dropout)
        self.mask_blocks = nn.ModuleList(MaskBlock(inputs, m, h, self.ratio, self.dropout) for m, h in sizes)
        self.output = glorot_linear(self.hidden[-1], 1)

    def logits(self, vectors: Tensor) -> Tensor:
        flat = vectors.flatten(1)
        x = torch.addcmul(self.shifts, layer_norm(vectors, (self.dim,)).flatten(1), self.gains)
        if self.kind == "serial":
            for block in self.mask_blocks:
                x = block(flat, x)
        else:
            x = self.deep(torch.cat([block(flat, x) for block in self.mask_blocks], 1))
        return self.output(x).squeeze(1)
