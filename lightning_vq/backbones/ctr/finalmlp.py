"""FinalMLP: two perceptrons o_k = MLP_k(h_k), h_k = 2 sigmoid(Gate_k(c_k)) * x, fused by a bilinear form in heads.

Mao et al., "FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction", AAAI 2023: feature gating, and
logit = b + w_1 . o_1 + w_2 . o_2 + sum_h o_1h^T W_h o_2h, both outputs cut into heads of equal width (biases and linear
terms of the heads are one). x is the vectors of all fields; the context c_k of a stream's gate is the vectors of the
fields named for it, or a learned constant where none is.

Departures: a gate of a constant context is learned as the vector that its network would put out, zeros at first (that
is all that such a network can be); a context is the fields' own vectors, where FuxiCTR has second tables for it, which
nothing would compress; no batch normalization. Gates have no dropout, as in FuxiCTR.
Shapes: B batch, F fields, D dim, H width of a stream's output.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_vq.backbones.fields import FieldBackbone, Perceptron, check_perceptron, glorot_linear
from lightning_vq.errors import UserError


class Gate(nn.Module):
    """Weights between 0 and 2 of the numbers that enter a stream.

    Args:
        places: of the fields in whose vectors the weights depend; none: the same weights for every sample.
        dim: D.
        hidden: widths of the network between them.
        outputs: how many weights.
    """

    def __init__(self, places: Sequence[int], dim: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.places = tuple(places)
        if places:
            self.network = Perceptron(len(places) * dim, hidden, 0.0)
            self.output = glorot_linear(hidden[-1], outputs)
        else:
            self.constant = nn.Parameter(torch.zeros(outputs))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return weights (B, F D), or (F D) for all, from the vectors of the fields (B, F, D)."""
        if not self.places:
            return 2 * self.constant.sigmoid()
        context = torch.cat([vectors[:, place] for place in self.places], 1)
        return 2 * self.output(self.network(context)).sigmoid()


class FinalMLP(FieldBackbone):
    """Two gated perceptrons and the products of their outputs.

    Args:
        dim: width of a field's vector (D).
        first_hidden: widths of the first stream's layers.
        second_hidden: widths of the second stream's layers.
        heads: of the bilinear form; they divide the last width of both streams.
        gated: whether a stream's inputs are weighted (feature selection).
        first_context: fields from which the first stream's weights are formed, the user's say; none: a constant.
        second_context: the same of the second stream, the item's say.
        gate_hidden: widths of the layers of a gate that has fields to go by.
        dropout: share of each layer of the streams that is dropped in training.
    """

    def __init__(
        self,
        dim: int = 64,
        first_hidden: Sequence[int] = (256, 256, 256),
        second_hidden: Sequence[int] = (256, 256, 256),
        heads: int = 2,
        gated: bool = True,
        first_context: Sequence[str] = (),
        second_context: Sequence[str] = (),
        gate_hidden: Sequence[int] = (256,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__(dim)
        widths = {"first_hidden": first_hidden, "second_hidden": second_hidden, "gate_hidden": gate_hidden}
        for name, layers in widths.items():
            check_perceptron(layers, dropout, name)
        if heads < 1 or first_hidden[-1] % heads or second_hidden[-1] % heads:
            raise UserError(
                f"backbone.init_args.heads is {heads}; it must divide the last widths of first_hidden and of "
                f"second_hidden, {first_hidden[-1]} and {second_hidden[-1]}"
            )
        if not gated and (first_context or second_context):
            raise UserError("backbone.init_args: first_context and second_context are for gates, and gated is false")
        self.first_hidden, self.second_hidden, self.heads = tuple(first_hidden), tuple(second_hidden), heads
        self.gated, self.first_context, self.second_context = gated, tuple(first_context), tuple(second_context)
        self.gate_hidden, self.dropout = tuple(gate_hidden), dropout

    def make(self, fields: int) -> None:
        width, (first, second) = fields * self.dim, (self.first_hidden[-1], self.second_hidden[-1])
        if self.gated:
            self.first_gate = Gate(self._places(self.first_context), self.dim, self.gate_hidden, width)
            self.second_gate = Gate(self._places(self.second_context), self.dim, self.gate_hidden, width)
        self.first = Perceptron(width, self.first_hidden, self.dropout)
        self.second = Perceptron(width, self.second_hidden, self.dropout)
        self.first_output = glorot_linear(first, 1)  # w_1 and b
        self.second_output = glorot_linear(second, 1, bias=False)  # w_2
        heads = (torch.empty(first // self.heads, second // self.heads) for _ in range(self.heads))
        self.fusion = nn.Parameter(torch.stack([nn.init.xavier_normal_(head) for head in heads]))  # W_h

    def logits(self, vectors: Tensor) -> Tensor:
        first = second = vectors.flatten(1)
        if self.gated:
            first, second = first * self.first_gate(vectors), second * self.second_gate(vectors)
        first, second = self.first(first), self.second(second)  # (B, H) each
        crossed = torch.einsum("bki,kij->bkj", first.unflatten(1, (self.heads, -1)), self.fusion).flatten(1)
        # w_2 joins the form before the product with o_2: one pass for both.
        return self.first_output(first).squeeze(1) + ((crossed + self.second_output.weight) * second).sum(1)

    def _places(self, names: Sequence[str]) -> list[int]:
        """Return where the fields of those names are among the vectors."""
        assert self.facts is not None
        known = [*self.facts.fields, *self.facts.sequences, *self.facts.numbers]
        if strange := ", ".join(name for name in names if name not in known):
            raise UserError(f"backbone.init_args: a context names {strange}; the fields are {', '.join(known)}")
        return [known.index(name) for name in names]
