"""The nouns of the project: what passes between data, backbones, quantizers and modules.

Shapes: B batch, C candidates, D dim, E training pairs, L levels, M positions, N rows of a table.
"""

from typing import NamedTuple

from torch import Tensor


class Facts(NamedTuple):
    """What a model must know of the data before its tables exist. Saved whole in every checkpoint."""

    rows: dict[str, int]  # entities per vocabulary, {"user": 943, "item": 1682}
    counts: dict[str, Tensor]  # (N,) int64 training frequency per vocabulary
    ids: dict[str, str]  # digest of each vocabulary's original ids in row order
    provides: tuple[str, ...] = ()  # what the batches carry: "pairs", "graph", ... matched with Backbone.needs
    pairs: Tensor | None = None  # (E, 2) int32 training pairs (user, item): the edges of a graph backbone


class TableSpec(NamedTuple):
    """A table of vectors that a backbone asks for."""

    vocab: str  # vocabulary whose entities are its rows
    dim: int
    init: str = "normal"  # "normal": N(0, 0.01^2); "xavier": Glorot uniform
    quantizable: bool = True
    decay: bool = True  # weight decay acts on it


class Table(NamedTuple):
    """An id table as a quantizer sees it when it starts."""

    weight: Tensor  # (N, D)
    counts: Tensor | None = None  # (N,) training frequency


class Quantized(NamedTuple):
    """What a quantizer makes of rows of a table."""

    vectors: Tensor  # (..., D) code vectors, carrying the gradient estimator
    codes: Tensor  # (..., L) int64 code index per level
    codebook: Tensor  # (...) per-row loss that pulls codes to vectors (L_quant)
    commitment: Tensor  # (...) per-row loss that pulls vectors to codes (L_commit)


class Output(NamedTuple):
    """What a backbone predicts. Inner-product models fill hidden and keys, so that scores are formed in blocks."""

    hidden: Tensor | None = None  # (M, D)
    keys: Tensor | None = None  # (N, D) for every item, or (M, C, D) for M x C candidates
    bias: Tensor | None = None  # (N,) or (M, C)
    scores: Tensor | None = None  # (M, C), filled alone by pair scorers


class Pairs(NamedTuple):
    """Users and the items to score for each."""

    users: Tensor  # (B,) int64
    items: Tensor | None  # (B, C) int64, column 0 the observed item in training; None: every item


class Block(NamedTuple):
    """Several mini-batches that travel together: one `training_step`, many optimizer steps."""

    pairs: Pairs  # users (S * B,), items (S * B, C)
    size: int  # B, mini-batch rows; the last one may have fewer

    def batches(self) -> list[Pairs]:
        assert self.pairs.items is not None
        return [Pairs(u, i) for u, i in zip(self.pairs.users.split(self.size), self.pairs.items.split(self.size))]


class EvalBatch(NamedTuple):
    """Held-out interactions, and what the protocols rank their items against."""

    cases: Tensor  # (B,) index of the held-out interaction, of the user for prediction
    users: Tensor  # (B,)
    positives: Tensor  # (B,) the held-out item; any for prediction
    seen: tuple[Tensor, Tensor] | None  # (row in batch, item) to be masked; None: full ranking is not asked for
    candidates: Tensor | None  # (B, 99) sampled negatives; None: not asked for
