"""The nouns of the project: what passes between data, backbones, quantizers and modules.

Shapes: B batch, C candidates, D dim, E training pairs, L levels, M positions, N rows of a table, P held-out
interactions, T items of a list at most, W real categories of an entity at most; of samples F categorical fields,
M numbers, Q fields of at most T values.
"""

from typing import Any, NamedTuple, TypeVar

from torch import Tensor

# Names of tables beside one of entities: that one's, and
FIRST = "_first"  # weights of first order
CATEGORY = "_category"  # real categories of the entities
FEATURE = "_feature"  # vocabulary of the values of its features
PATTERN = "_pattern"  # vocabulary of the codes of its semantic ids, position after position
CREATOR = "creator"  # vocabulary of those who made lists


class Facts(NamedTuple):
    """What a model must know of the data before its tables exist. Saved whole in every checkpoint."""

    rows: dict[str, int]  # entities per vocabulary, {"user": 943, "item": 1682}; also "category" and "relation"
    counts: dict[str, Tensor]  # (N,) int64 training frequency per vocabulary
    ids: dict[str, str]  # digest of each vocabulary's original ids in row order
    provides: tuple[str, ...] = ()  # what the data can give, matched with Backbone.needs
    pairs: Tensor | None = None  # (E, 2) int32 training pairs (user, item): the edges of a graph backbone
    fields: dict[str, str] = {}  # categorical field -> its vocabulary, in the order of Samples.fields
    sequences: dict[str, str] = {}  # field of many values -> its vocabulary, in the order of Samples.sequences
    numbers: tuple[str, ...] = ()  # numeric fields, in the order of Samples.numbers
    moments: dict[str, tuple[float, float]] = {}  # what numbers, or the scores to be predicted, were standardised by:
    # mean and deviation of training
    categories: dict[str, Tensor] = {}  # vocabulary -> (N, W) int64 rows of "<vocabulary>_category", -1 after the last
    length: int = 0  # items of the longest list
    features: dict[str, Tensor] = {}  # vocabulary -> (N, F, W) rows of "<vocabulary>_feature", -1 after the last
    vectors: dict[str, Tensor] = {}  # vocabulary -> (N, D) that are given; not in checkpoints, whose tables they are
    patterns: dict[str, tuple[int, ...]] = {}  # vocabulary -> how many codes each position of a semantic id has
    coded_by: str = ""  # digest of the quantizers that patterns are of


class TableSpec(NamedTuple):
    """A table of vectors that a backbone asks for."""

    vocab: str  # vocabulary whose entities are its rows
    dim: int
    init: str = "normal"  # "normal": N(0, 0.01^2); "xavier": Glorot uniform
    quantizable: bool = True
    decay: bool = True  # weight decay acts on it
    outside: int = 0  # rows beside the vocabulary's, numbered after them (unknown, padding): zeros at first, trained
    # where training meets them, and never quantized


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
    scores: Tensor | None = None  # (M, C), filled alone by pair scorers; (M,) logits of samples
    targets: Tensor | None = None  # (M,) int64 the item that each position of a list is to predict


class Pairs(NamedTuple):
    """Users and the items to score for each."""

    users: Tensor  # (B,) int64
    items: Tensor | None  # (B, C) int64, column 0 the observed item in training; None: every item
    log_q: Tensor | None = None  # (B, C) log of the odds that sampling draws the item; None: the same for all


class Triples(NamedTuple):
    """Triples of a knowledge graph, each with another tail and head; users, items, categories are numbered jointly."""

    heads: Tensor  # (B,) int64
    relations: Tensor  # (B,) int64, 0 is that of the interactions
    tails: Tensor  # (B,)
    other_tails: Tensor  # (B,) of the same kind as the tail
    other_heads: Tensor  # (B,) of the same kind as the head


class Samples(NamedTuple):
    """Rows of a table of features, of which a label is to be predicted."""

    fields: Tensor  # (B, F) int32 row in the vocabulary of each categorical field; N for what it does not have
    numbers: Tensor  # (B, M) float32
    sequences: Tensor  # (B, Q, T) int32 rows in the vocabularies of the fields of many values, -1 after the last
    labels: Tensor  # (B,) float32, 0 or 1
    cases: Tensor  # (B,) int64 place in the data
    groups: Tensor | None = None  # (B,) int64, rows of one are ranked together; None: nothing is ranked


class ScoredPairs(NamedTuple):
    """Pairs whose score is to be predicted."""

    users: Tensor  # (B,) int64
    items: Tensor  # (B,) int64
    scores: Tensor  # (B,) float64 in the units of the data
    cases: Tensor  # (B,) int64 place in the data


class Lists(NamedTuple):
    """Lists of items, or histories: the first ones are given, the others are to be predicted."""

    items: Tensor  # (B, T) int64, -1 after the last
    known: Tensor  # (B,) int64 how many of them are given; models that learn all positions of a list do not ask
    cases: Tensor  # (B,) int64 place of the list in the data
    negatives: Tensor | None = None  # (B, T, C) int64 sampled for each position in training; None: all items compete
    candidates: Tensor | None = None  # (B, 99) sampled negatives of the next item in evaluation; None: not asked for
    seen: tuple[Tensor, Tensor] | None = None  # (list in the batch, item) of whole histories before it, in evaluation
    creators: Tensor | None = None  # (B,) int64 who made each list, -1: nobody that training knows; None: not told
    rows: Tensor | None = None  # (B,) int64 place among the held-out items, where a list has several
    alone: "Alone | None" = None  # what each of these is ranked against; None: not asked for

    @property
    def lengths(self) -> Tensor:
        """Return how many items each list has (B,)."""
        return (self.items >= 0).sum(1)


class Entities(NamedTuple):
    """Entities whose vectors are looked up, and no more."""

    vocabs: Tensor  # (B,) int64 place of its vocabulary among those of the data
    rows: Tensor  # (B,) int64


class TimedPairs(NamedTuple):
    """Users and items to score for each, as they were at a moment."""

    users: Tensor  # (B,) int64
    items: Tensor  # (B, C) int64, column 0 the observed item
    moments: Tensor  # (B,) int64 when: see `data/timeline.py`
    user_states: Tensor | None = None  # (B,) int64
    item_states: Tensor | None = None  # (B, C) int64
    user_recent: Tensor | None = None  # (B, T) int32 items that the user had met last, -1 where there are fewer
    item_recent: Tensor | None = None  # (B, C, T) int32 users that the item had met last


class Side(NamedTuple):
    """Users, or items, each as it was at a moment."""

    ids: Tensor  # (M,) int64
    states: Tensor  # (M,) int64
    recent: Tensor  # (M, T) int32 of the other kind, that it had met last, -1 where there are fewer
    codes: Tensor | None = None  # (M, L) int64 rows of "<vocabulary>_pattern"; None: not asked for
    linked: Tensor | None = None  # (M, Q) int64 neighbours of its kind, -1 for none; None: not asked for


class Encounter(NamedTuple):
    """What two towers score."""

    user: Side  # B
    item: Side  # B * C


class Alone(NamedTuple):
    """What held-out interactions are ranked against where each is ranked alone; see `data/alone.py`."""

    known: tuple[Tensor, Tensor]  # (row in `users`, item) of all that a user touched in any part
    of: Tensor | None  # (P,) batch of each held-out interaction; None: batches are not asked for
    holds: Tensor | None  # (G, N) bool whose items the batches have
    size: int  # held-out interactions of a whole batch
    everyone: bool  # ranking among all items is asked for


class TimedCases(NamedTuple):
    """Held-out interactions, each of a user and items as they were right before it."""

    user: Side  # P
    cases: Tensor  # (P,) int64 place in the data; none for prediction
    positives: Tensor  # (P,) int64 place among the candidates
    item_states: Tensor  # (S,) int64 rows of the vectors of items that occur among the candidates
    places: Tensor  # (P, C) int64 which of them each candidate is
    alone: Alone  # what is ranked against what, users being 0..P-1 and items the candidates


Rows = TypeVar("Rows", bound=Pairs | Triples | Samples | ScoredPairs | Lists | TimedPairs | Entities)


def cut(rows: Rows, of: Tensor | slice) -> Rows:
    """Return some rows."""
    kind: Any = type(rows)
    made: Rows = kind(*(None if field is None else field[of] for field in rows))
    return made


class Block(NamedTuple):
    """Several mini-batches that travel together: one `training_step`, many optimizer steps."""

    rows: Pairs | Triples | Samples | ScoredPairs | Lists | TimedPairs | Entities  # (S * B) rows
    size: int  # B, mini-batch rows; the last one may have fewer

    @property
    def length(self) -> int:
        """Return S * B."""
        return len(self.rows[0])

    def batches(self) -> list[Pairs | Triples | Samples | ScoredPairs | Lists | TimedPairs | Entities]:
        return [cut(self.rows, slice(start, start + self.size)) for start in range(0, self.length, self.size)]


class EvalBatch(NamedTuple):
    """Users with all their held-out interactions, and what the protocols rank those items against."""

    users: Tensor  # (B,) each once
    cases: Tensor  # (P,) index of the held-out interaction; none for prediction
    owners: Tensor  # (P,) the row in `users` of its user
    positives: Tensor  # (P,) its item
    seen: tuple[Tensor, Tensor] | None  # (row in `users`, item) to be masked; None: full ranking is not asked for
    candidates: Tensor | None  # (P, 99) sampled negatives; None: not asked for
    alone: Alone | None = None  # None: not asked for

    @property
    def piece(self) -> int:
        """Return how many held-out interactions are ranked at a time: one or two of each user's on average."""
        return max(1, len(self.users))
