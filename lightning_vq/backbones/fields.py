"""What click-through rate backbones share: a vector for each field of a sample, weights of first order, a perceptron.

A sample's fields are its categorical ones, those of many values (the mean of their vectors; zeros without any), and the
numeric ones (the number times a vector of its own). Shapes: B batch, F fields of all kinds, D dim, Q fields of many
values, T values of one, M numbers, H width of a layer.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.layers import dropped
from lightning_vq.errors import UserError
from lightning_vq.lookup import Lookup
from lightning_vq.types import FIRST, Facts, Output, Samples, TableSpec


class FieldBackbone(Backbone):
    """A logit from the vectors of a sample's fields.

    Each vocabulary has one table (N, D) and a row outside it for ids that training has not seen; fields that share a
    vocabulary share its table.

    Args:
        dim: width of the vectors (D).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    inner_product: ClassVar[bool] = False
    first_order: ClassVar[bool] = False  # each value has a weight of its own too, in a table that nothing quantizes

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise UserError(f"backbone.init_args.dim is {dim}; it must be at least 1")
        self.dim = dim
        self.facts: Facts | None = None

    @abstractmethod
    def make(self, fields: int) -> None:
        """Make the layers for samples of so many fields (F)."""

    @abstractmethod
    def logits(self, vectors: Tensor) -> Tensor:
        """Return a logit (B,) from the vectors of the fields (B, F, D)."""

    def prepare(self, facts: Facts) -> None:
        self.facts = facts
        numbers = len(facts.numbers)
        self.number_vectors = nn.Parameter(torch.empty(numbers, self.dim).normal_(std=0.01))
        if self.first_order:
            self.number_weights = nn.Parameter(torch.zeros(numbers))
            self.bias = nn.Parameter(torch.zeros(()))
        self.make(len(facts.fields) + len(facts.sequences) + numbers)

    def tables(self) -> dict[str, TableSpec]:
        assert self.facts is not None
        vocabs = list(dict.fromkeys([*self.facts.fields.values(), *self.facts.sequences.values()]))
        specs = {vocab: TableSpec(vocab, self.dim, outside=1) for vocab in vocabs}
        if self.first_order:
            specs |= {vocab + FIRST: TableSpec(vocab, 1, quantizable=False, outside=1) for vocab in vocabs}
        return specs

    def forward(self, look: Lookup, batch: Samples) -> Output:
        logits = self.logits(self.vectors(look, batch))
        return Output(scores=logits + self.first_orders(look, batch) if self.first_order else logits)

    def vectors(self, look: Lookup, batch: Samples) -> Tensor:
        """Return the vector of every field (B, F, D)."""
        parts = self._of_values(look, batch, "")
        if batch.numbers.shape[1]:
            parts.extend((batch.numbers[:, :, None] * self.number_vectors).unbind(1))
        return torch.stack(parts, 1)

    def first_orders(self, look: Lookup, batch: Samples) -> Tensor:
        """Return the sum (B,) of a bias and the weights of a sample's values; of many values in a field their mean."""
        weights = torch.cat(self._of_values(look, batch, FIRST), 1).sum(1)
        return self.bias + weights + batch.numbers @ self.number_weights

    def _of_values(self, look: Lookup, batch: Samples, part: str) -> list[Tensor]:
        """Return rows (B, D) of the tables named for the vocabulary and `part`, field by field."""
        assert self.facts is not None
        vocabs = self.facts.fields.values()
        parts = [look(vocab + part, ids) for vocab, ids in zip(vocabs, batch.fields.unbind(1))]
        for vocab, ids in zip(self.facts.sequences.values(), batch.sequences.unbind(1)):
            parts.append(_mean(look, vocab + part, ids))
        return parts


def _mean(look: Lookup, table: str, ids: Tensor) -> Tensor:
    """Return the mean (B, D) of the rows at ids (B, T), those below 0 left out; zeros where nothing is left."""
    there = ids >= 0
    owners = there.nonzero()[:, 0]
    vectors = look(table, ids[there])  # (P, D)
    sums = vectors.new_zeros(len(ids), vectors.shape[1]).index_add_(0, owners, vectors)
    return sums / there.sum(1, keepdim=True).clamp_min(1)


def pair_products(vectors: Tensor) -> Tensor:
    """Return the sum (B,) of the inner products of all pairs of fields, from their vectors (B, F, D) in O(F D)."""
    return 0.5 * (vectors.sum(1).square().sum(1) - vectors.square().sum((1, 2)))


class Perceptron(nn.Module):
    """Linear layers, each followed by ReLU and dropout.

    Args:
        inputs: width of the input.
        widths: of the layers (H).
        dropout: share of each layer's output that is dropped in training.
    """

    def __init__(self, inputs: int, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(glorot_linear(a, b) for a, b in zip((inputs, *widths), widths))
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer (B, H) of (B, inputs)."""
        for layer in self.layers:
            x = dropped(layer(x).relu_(), self.dropout, self.training)
        return x


def glorot_linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Return a linear layer with Glorot normal weights and a bias of zeros."""
    layer = nn.Linear(inputs, outputs, bias)
    nn.init.xavier_normal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def check_perceptron(widths: Sequence[int], dropout: float, name: str = "hidden") -> None:
    """Refuse widths and dropout that no perceptron can have.

    Raises:
        UserError: with the key.
    """
    if not widths or min(widths) < 1:
        raise UserError(f"backbone.init_args.{name} is {list(widths)}; it must name one width or more, each above 0")
    if not 0 <= dropout < 1:
        raise UserError(f"backbone.init_args.dropout is {dropout}; it must be in [0, 1)")
