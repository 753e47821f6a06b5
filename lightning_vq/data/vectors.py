"""VectorData: vectors of entities that another model has made, to be quantized.

Shapes: N entities of a vocabulary, D dim, B batch.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from lightning_vq.data.base import RecommenderData, digest
from lightning_vq.data.loaders import BlockLoader, EvalLoader
from lightning_vq.data.samplers import SampleSampler
from lightning_vq.errors import UserError
from lightning_vq.runs import read_parquet
from lightning_vq.types import Entities, Facts, cut
from lightning_vq.vocabulary import Vocabulary

FOLDER = "representations"  # of a run: a Parquet file of vectors for each vocabulary


class VectorData(RecommenderData):
    """Vectors by entity, of one or several vocabularies.

    Args:
        vectors: a run folder whose test has left representations/<vocabulary>.parquet, or the files themselves by
            vocabulary. A file has a column of ids, named as the vocabulary, and a column `vector` of lists.
        batch_size: entities of a mini-batch (B).
        block: mini-batches that one training_step walks through.
        seed: of training order; None takes that of seed_everything.
    """

    def __init__(
        self, vectors: str | dict[str, str], batch_size: int = 1024, block: int = 8, seed: int | None = None
    ) -> None:
        super().__init__()
        if batch_size < 1 or block < 1:
            raise UserError(f"data.init_args: batch_size is {batch_size} and block {block}; both must be at least 1")
        self.vectors, self.batch_size, self.block, self.seed = vectors, batch_size, block, seed
        self.source = vectors if isinstance(vectors, str) else "files"
        self.ids: dict[str, pa.Array] = {}
        self.tables: dict[str, Tensor] = {}  # vocabulary -> (N, D)

    def files(self) -> dict[str, Path]:
        """Return the files by vocabulary.

        Raises:
            UserError: the run folder has none.
        """
        if not isinstance(self.vectors, str):
            return {vocab: Path(path) for vocab, path in self.vectors.items()}
        found = {path.stem: path for path in sorted((Path(self.vectors) / FOLDER).glob("*.parquet"))}
        if not found:
            raise UserError(
                f"{self.vectors} has no {FOLDER}/: give the folder of a finished run of TimedFiltering, or files by "
                "vocabulary, as in --data.init_args.vectors.item=FILE"
            )
        return found

    def setup(self, stage: str | None = None) -> None:
        if self.tables:
            return
        read = {vocab: read_vectors(path, vocab) for vocab, path in self.files().items()}
        widths = {vocab: vectors.shape[1] for vocab, (_, vectors) in read.items()}
        if len(set(widths.values())) != 1:
            raise UserError(
                f"{self.source}: vectors must be of one width, but are of {widths}; quantize them in two runs"
            )
        for vocab, (_, vectors) in read.items():
            if bool((vectors == vectors[0]).all()):
                raise UserError(f"{self.files()[vocab]}: all vectors are the same: there is nothing to be coded")
        self.ids = {vocab: ids for vocab, (ids, _) in read.items()}
        self.tables = {vocab: vectors for vocab, (_, vectors) in read.items()}

    def facts(self) -> Facts:
        return Facts(
            rows={vocab: len(vectors) for vocab, vectors in self.tables.items()},
            counts={vocab: torch.ones(len(vectors), dtype=torch.int64) for vocab, vectors in self.tables.items()},
            ids={vocab: digest(ids.to_pylist()) for vocab, ids in self.ids.items()},
            provides=("vectors",),
            vectors=dict(self.tables),
        )

    def vocabularies(self) -> dict[str, Vocabulary]:
        return {vocab: Vocabulary(ids, np.ones(len(ids), dtype=np.int64), None) for vocab, ids in self.ids.items()}

    def told(self, needs: frozenset[str]) -> str:
        counts = ", ".join(f"{len(vectors):,} {vocab}s" for vocab, vectors in self.tables.items())
        width = next(iter(self.tables.values())).shape[1]
        return f"{self.source}: {counts}, vectors of {width} numbers"

    # -- batches -----------------------------------------------------------------------------------------------------

    def everyone(self) -> Entities:
        """Return all entities."""
        parts = [(torch.full((len(v),), i), torch.arange(len(v))) for i, v in enumerate(self.tables.values())]
        return Entities(*(torch.cat(column) for column in zip(*parts)))

    def train_dataloader(self) -> BlockLoader:
        seed, epoch = self.seed_and_epoch(self.seed)
        return BlockLoader(SampleSampler(self.everyone()), self.batch_size, self.block, seed, epoch, *self.rank())

    def val_dataloader(self) -> EvalLoader[Any]:
        whole = self.everyone()
        rows = torch.arange(len(whole.rows))
        return EvalLoader(rows, 1 << 16, lambda some: cut(whole, some), 0, 1)

    def test_dataloader(self) -> EvalLoader[Any]:
        return self.val_dataloader()

    def predict_dataloader(self) -> EvalLoader[Any]:
        """Refuse: there is nothing to predict.

        Raises:
            UserError: always, with what does what is meant.
        """
        raise UserError(
            "a run of vectors has left its semantic ids in semantic_ids/ and links/ of its folder; for new vectors: "
            "python -m lightning_vq encode RUN FILE --out FILE"
        )


def read_vectors(path: Path, key: str) -> tuple[pa.Array, Tensor]:
    """Return the ids (N,) and vectors (N, D) float32 of a Parquet file.

    Args:
        path: with a column of ids and a column `vector` of lists of numbers.
        key: column of ids.

    Raises:
        UserError: what is not there, of another kind, missing, or not finite; with the row.
    """
    if path.suffix in (".csv", ".tsv"):
        raise UserError(f"{path}: vectors are read from Parquet, with a column {key!r} and one of lists, 'vector'")
    table = read_parquet(path)
    for name in (key, "vector"):
        if name not in table.column_names:
            raise UserError(f"{path}: there is no column {name!r} among {table.column_names}")
    ids, column = table[key].combine_chunks(), table["vector"].combine_chunks()
    kind = column.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise UserError(f"{path}: the column 'vector' holds {kind}, not lists of numbers")
    if not len(ids) or ids.null_count or column.null_count:
        raise UserError(f"{path}: there must be rows, each with an id and a vector")
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise UserError(
            f"{path}: the {key} {twice[0]['values'].as_py()!r} stands in several rows ({len(twice)} such ids)"
        )
    lengths = np.asarray(column.value_lengths())
    strange = np.flatnonzero(lengths != lengths[0])
    if len(strange) or not lengths[0]:
        row = int(strange[0]) if len(strange) else 0
        raise UserError(f"{path}, row {row + 1}: the vector has {lengths[row]} numbers, that of row 1 {lengths[0]}")
    flat = column.flatten().cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    vectors = torch.from_numpy(np.array(flat).reshape(len(ids), -1))
    wrong = (~torch.isfinite(vectors)).any(1).nonzero()[:, 0]
    if len(wrong):
        raise UserError(f"{path}, row {int(wrong[0]) + 1}: the vector holds NaN or infinity ({len(wrong)} such rows)")
    return ids, vectors
