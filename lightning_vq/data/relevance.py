"""RelevanceData: pairs of items with a score of how relevant the one is to the other.

Shapes: E pairs, U items that are asked about, N items that may be related, B batch.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from lightning_vq.data.base import RecommenderData, digest
from lightning_vq.data.loaders import BlockLoader, EvalLoader
from lightning_vq.data.samplers import SampleSampler
from lightning_vq.data.shares import Split, divided
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.sources.files import SUFFIXES
from lightning_vq.sources.interactions import Array
from lightning_vq.sources.planted import PlantedOptions
from lightning_vq.sources.planted_relevance import planted_relevance
from lightning_vq.sources.relevance import Duplicates, RawRelevance, read_relevance
from lightning_vq.types import Facts, ScoredPairs, cut
from lightning_vq.vocabulary import Vocabulary

SCORE = "score"  # whose mean and deviation are among the facts' moments


class RelevanceData(RecommenderData):
    """Pairs (item, related item) with a score, a random share of them held out.

    The item that is asked about stands where a model of interactions has its user: its vocabulary is called `user`,
    that of the related items `item`. The two are numbered apart and have tables of their own, also where they hold the
    same ids; (a, b) and (b, a) are two pairs, and the split does not keep them together.

    Args:
        source: "planted", or a CSV, TSV or Parquet file.
        columns: for a file, {role: column} with roles item, related and score.
        duplicates: for a file, what to do with a pair that stands in several rows: "refuse", or "mean" of its scores.
        ratio: shares of train, dev and test, drawn over pairs. A paper's 90/10 has no dev, which is cut out of its
            training part: [0.81, 0.09, 0.1], and refit trains on the whole 90 % in the end.
        split_seed: of that draw.
        refit: train on dev as well, for a last fit of known settings: its last epoch counts, and val/ metrics say
            nothing.
        batch_size: pairs of a mini-batch, on each rank (B).
        block: mini-batches that one training_step walks through.
        eval_batch_size: pairs that are scored at a time.
        seed: of training order; None takes that of seed_everything.
        planted: what the planted world looks like; mean_length is pairs an item.
    """

    def __init__(
        self,
        source: str = "planted",
        columns: dict[str, str] | None = None,
        duplicates: Duplicates = "refuse",
        ratio: tuple[float, float, float] = (0.8, 0.1, 0.1),
        split_seed: int = 0,
        refit: bool = False,
        batch_size: int = 256,
        block: int = 16,
        eval_batch_size: int = 20_000,
        seed: int | None = None,
        planted: PlantedOptions = PlantedOptions(),  # noqa: B008 (a constant record)
    ) -> None:
        super().__init__()
        for name, value in {"batch_size": batch_size, "block": block, "eval_batch_size": eval_batch_size}.items():
            if value < 1:
                raise UserError(f"data.init_args.{name} is {value}; it must be at least 1")
        if not all(share > 0 for share in ratio):
            raise UserError(f"data.init_args.ratio is {list(ratio)}; each share must be above 0")
        if source != "planted" and not source.endswith(SUFFIXES):
            kinds = ", ".join(SUFFIXES)
            raise UserError(f"data.init_args.source is {source!r}; it must be planted, or a file that ends in {kinds}")
        self.source, self.columns, self.duplicates = source, columns, duplicates
        self.ratio, self.split_seed, self.refit = ratio, split_seed, refit
        self.batch_size, self.block, self.eval_batch_size = batch_size, block, eval_batch_size
        self.seed, self.planted = seed, planted
        self.raw: RawRelevance | None = None

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self) -> RawRelevance:
        """Read the source."""
        if self.source == "planted":
            return planted_relevance(self.planted)
        return read_relevance(Path(self.source), self.columns, self.duplicates)

    def setup(self, stage: str | None = None) -> None:
        if self.raw is not None:
            return
        raw = self.read()
        nothing = np.zeros(0)
        part_of = divided(
            raw.where, Split("ratio", self.ratio, self.split_seed), len(raw.scores), nothing, nothing, nothing
        )
        trained = (TRAIN, DEV) if self.refit else (TRAIN,)
        self.rows = {p: np.flatnonzero(np.isin(part_of, trained if p == TRAIN else (p,))) for p in (TRAIN, DEV, TEST)}
        scores = raw.scores[self.rows[TRAIN]]
        if scores.min() == scores.max():
            raise UserError(f"{raw.where}: all {len(scores):,} pairs of the train part have the score {scores[0]:g}")
        with np.errstate(over="ignore"):  # refused below
            self.moments = (float(scores.mean()), float(scores.std()))
        if not np.isfinite(self.moments).all() or not self.moments[1]:
            raise UserError(
                f"{raw.where}: scores from {scores.min():g} to {scores.max():g} are too far apart, or too near"
            )
        sides = {"user": (raw.users, raw.user_ids), "item": (raw.items, raw.item_ids)}
        self.counts = {
            vocab: np.bincount(of[self.rows[TRAIN]], minlength=len(ids)) for vocab, (of, ids) in sides.items()
        }
        self.raw = raw  # last: where this is set, all of the above stands

    # -- what a model must know --------------------------------------------------------------------------------------

    def facts(self) -> Facts:
        vocabularies = self.vocabularies()
        return Facts(
            rows={name: len(of.ids) for name, of in vocabularies.items()},
            counts={name: torch.from_numpy(of.counts) for name, of in vocabularies.items()},
            ids={name: digest(of.ids.to_pylist()) for name, of in vocabularies.items()},
            provides=("pairs",),
            moments={SCORE: self.moments},
        )

    def vocabularies(self) -> dict[str, Vocabulary]:
        raw = self._ready()
        ids = {"user": raw.user_ids, "item": raw.item_ids}
        return {name: Vocabulary(of, self.counts[name], None) for name, of in ids.items()}

    def truth(self, vocab: str) -> dict[str, Array]:
        return self._ready().categories

    def told(self, needs: frozenset[str]) -> str:
        raw, (mean, deviation) = self._ready(), self.moments
        told = f"{self.source}: {len(raw.user_ids):,} items and {len(raw.item_ids):,} related ones"
        told += f", {len(self.rows[TRAIN]):,} pairs to train on with scores {mean:.4g} ± {deviation:.4g}"
        best = self.best_rmse()
        return (
            told if best is None else f"{told}; the truth itself has RMSE {best:.4f} on test, the best to be expected"
        )

    def best_rmse(self) -> float | None:
        """Return the RMSE of the planted truth on test pairs."""
        raw, test = self._ready(), self.rows[TEST]
        return None if raw.truth is None else float(np.sqrt(np.mean((raw.scores - raw.truth)[test] ** 2)))

    def unseen(self, part: int) -> dict[str, float]:
        """Return the share of a part's pairs whose item, or related item, training does not have."""
        raw, rows = self._ready(), self.rows[part]
        of = {"item": self.counts["user"][raw.users[rows]], "related": self.counts["item"][raw.items[rows]]}
        return {name: float((counts == 0).mean()) for name, counts in of.items()}

    def pairs(self, part: int) -> ScoredPairs:
        """Return the pairs of a part (E,)."""
        raw, rows = self._ready(), self.rows[part]
        users, items, scores = (torch.from_numpy(column[rows]) for column in (raw.users, raw.items, raw.scores))
        return ScoredPairs(users, items, scores, torch.from_numpy(rows))

    def original(self, cases: Tensor) -> tuple[pa.Array, pa.Array, Array]:
        """Return the ids of the items (B,) and related items (B,) of pairs, and their places (B,) in the table.

        Args:
            cases: (B,) places in the data, where each pair stands once.
        """
        raw, at = self._ready(), cases.cpu().numpy()
        return raw.user_ids.take(pa.array(raw.users[at])), raw.item_ids.take(pa.array(raw.items[at])), raw.rows[at]

    def _ready(self) -> RawRelevance:
        assert self.raw is not None
        return self.raw

    # -- batches -----------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> BlockLoader:
        sampler = SampleSampler(self.pairs(TRAIN))
        return BlockLoader(sampler, self.batch_size, self.block, *self.seed_and_epoch(self.seed), *self.rank())

    def val_dataloader(self) -> EvalLoader[ScoredPairs]:
        return self._held_out(DEV)

    def test_dataloader(self) -> EvalLoader[ScoredPairs]:
        return self._held_out(TEST)

    def predict_dataloader(self) -> EvalLoader[ScoredPairs]:
        return self._held_out(TEST)

    def _held_out(self, part: int) -> EvalLoader[ScoredPairs]:
        pairs = self.pairs(part)
        return EvalLoader(
            torch.arange(len(pairs.cases)), self.eval_batch_size, lambda some: cut(pairs, some), *self.rank()
        )
