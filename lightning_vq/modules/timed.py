"""Collaborative filtering in time: users and items as they were right before each interaction, with their patterns.

DQRec, section 4.3. Shapes: B users, C candidates, P held-out interactions, S states of items, D dim.
"""

from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import torch
from torch import Tensor

from lightning_vq import losses
from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.towers import VOCABS, TwoTowers, Vocab
from lightning_vq.data.base import RecommenderData
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.data.timed import TimedData
from lightning_vq.data.timed_evaluation import CHUNK
from lightning_vq.data.vectors import FOLDER
from lightning_vq.errors import UserError
from lightning_vq.metrics import MetricName, Ranks
from lightning_vq.modules.collaborative import CollaborativeFiltering
from lightning_vq.modules.patterns import Augmentation, patterns_of
from lightning_vq.modules.ranking import ranks_alone, refuse_nan
from lightning_vq.runs import write_parquet
from lightning_vq.types import PATTERN, Encounter, Facts, Output, Side, TimedCases, TimedPairs

FEW = 4  # states a candidate, in the mean, that are scored together
READ = 1 << 18  # vectors of candidates that are read at a time


class TimedFiltering(CollaborativeFiltering):
    """Ranks items for users, both as they were right before each interaction, by a model of two towers.

    Metrics are means over held-out interactions, so that hr is the recall of DQRec: `test/hr@5/batch1024` ranks each
    among the items of a batch of them, `test/hr@5/alone` among all, less what its user touched in any part.

    Args:
        backbone: of two towers.
        lr: Adam's learning rate.
        weight_decay: Adam's L2 term, see Recommender.
        clip: largest gradient norm, or none.
        patterns: run folder of a VectorQuantization of users and items, whose vectors a FeatureTower's run has left;
            none without semantic ids and links.
        links: neighbours by pattern of each user and item (K).
        latent_links: more of them by each latent pattern (K').
        static_codes: everybody's codes are those after training, whatever the moment.
        loss: "bpr", or "bpr_of_chances", as eq. 22-23 of the paper have it: the difference of sigmoids of scores.
        metrics: see CollaborativeFiltering.
        ks: see CollaborativeFiltering.
        top_k: see CollaborativeFiltering.
    """

    def __init__(
        self,
        backbone: Backbone,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        clip: float | None = None,
        patterns: str | None = None,
        links: int = 30,
        latent_links: int = 2,
        static_codes: bool = False,
        loss: Literal["bpr", "bpr_of_chances"] = "bpr",
        metrics: tuple[MetricName, ...] = ("hr", "ndcg"),
        ks: tuple[int, ...] = (5, 10, 20),
        top_k: int = 10,
    ) -> None:
        super().__init__(backbone, lr, weight_decay, clip, metrics=metrics, ks=ks, top_k=top_k)
        if not isinstance(backbone, TwoTowers):
            raise UserError(f"{type(backbone).__name__} has no two towers: see model.CollaborativeFiltering")
        if links < 1 or latent_links < 0:
            raise UserError(
                f"model.init_args: links is {links}, latent_links {latent_links}; at least 1 and 0 are needed"
            )
        self.patterns, self.links, self.latent_links, self.static_codes = patterns, links, latent_links, static_codes
        self.loss = loss  # type: ignore[assignment]
        self.augmentation: Augmentation | None = None
        self.part = DEV  # of the stage under way
        self.item_vectors: list[Tensor] = []  # of the stage under way, all states of items (S, D) in parts

    @property
    def towers(self) -> TwoTowers:
        assert isinstance(self.backbone, TwoTowers)
        return self.backbone

    # -- building ----------------------------------------------------------------------------------------------------

    def check(self, data: RecommenderData) -> None:
        if not isinstance(data, TimedData):
            raise UserError(f"TimedFiltering is trained on TimedData, not {type(data).__name__}")
        asked = bool(self.towers.semantic_ids or self.towers.links)
        if asked and self.patterns is None:
            raise UserError("the backbone asks for semantic ids or links: give their run as model.init_args.patterns")
        if self.patterns is not None and not asked:
            raise UserError("model.init_args.patterns: the backbone asks for neither semantic_ids nor links")

    def build(self, facts: Facts) -> None:
        if self.patterns is not None and not facts.patterns:  # the data's: a checkpoint's have them
            sizes, digest = patterns_of(Path(self.patterns))
            rows = {f"{vocab}{PATTERN}": sum(of) for vocab, of in sizes.items()}
            facts = facts._replace(patterns=sizes, coded_by=digest, rows=facts.rows | rows)
        super().build(facts)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if self.patterns is not None and self.augmentation is None and isinstance(data, TimedData):
            assert self.facts is not None
            self.augmentation = Augmentation(
                Path(self.patterns), data, self.links, self.latent_links, self.static_codes, self.towers.links,
                self.facts.coded_by,
            )  # fmt: skip

    # -- training ----------------------------------------------------------------------------------------------------

    def side(self, vocab: Vocab, side: Side, part: int) -> Side:
        """Return users or items with what the backbone asks for beside whom they had met.

        Args:
            vocab: which of them.
            side: of its states.
            part: up to which interactions show its states.
        """
        if self.augmentation is None:
            return side
        codes = self.augmentation.codes(vocab, side, part) if vocab in self.towers.semantic_ids else None
        linked = self.augmentation.linked(vocab, side, part) if vocab in self.towers.links else None
        return side._replace(codes=codes, linked=linked)

    def scored(self, batch: TimedPairs) -> Encounter:  # type: ignore[override]
        """Return the batch's users and items as they were."""
        assert batch.user_states is not None
        assert batch.item_states is not None
        assert batch.user_recent is not None
        assert batch.item_recent is not None
        user = Side(batch.users, batch.user_states, batch.user_recent)
        item = Side(batch.items.flatten(), batch.item_states.flatten(), batch.item_recent.flatten(0, 1))
        return Encounter(self.side("user", user, TRAIN), self.side("item", item, TRAIN))

    def task_loss(self, output: Output, batch: TimedPairs) -> Tensor:  # type: ignore[override]
        """Return the loss of a mini-batch."""
        scores = losses.candidate_scores(output)
        return losses.bpr(scores.sigmoid() if self.loss == "bpr_of_chances" else scores)

    # -- evaluation --------------------------------------------------------------------------------------------------

    def begin(self, stage: str) -> None:
        super().begin(stage)
        self.recommended = None
        self.item_vectors, self.part = [], TEST if stage == "test" else DEV

    def evaluate(self, batch: Side | TimedCases) -> None:  # type: ignore[override]
        if isinstance(batch, Side):
            self.item_vectors.append(self._vectors("item", batch))
            return
        scores = self._scores(batch)
        rows = torch.arange(len(scores), device=scores.device)
        for protocol, ranks in ranks_alone(batch.alone, scores, rows, batch.positives, len(rows)).items():
            metric = self.ranks.setdefault(protocol, Ranks().to(self.device))
            metric.update(batch.cases, batch.user.ids, ranks)

    def leave(self, folder: Path, data: RecommenderData) -> None:
        """Write representations/<vocabulary>.parquet: id, and the vector (D) after all training interactions."""
        assert isinstance(data, TimedData)
        self.look, self.part = self.lookup(), TRAIN
        vocabularies = data.vocabularies()
        for vocab in VOCABS:
            timeline = data.timelines[TRAIN][vocab]
            parts = [self._vectors(vocab, timeline.side(some, data.recent)) for some in timeline.now.split(CHUNK)]
            vectors = torch.cat(parts).float()
            lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.flatten().numpy()), vectors.shape[1])
            write_parquet(folder / FOLDER / f"{vocab}.parquet", {vocab: vocabularies[vocab].ids, "vector": lists})
        self.look = None

    def predict_step(self, batch: Side | TimedCases, batch_idx: int) -> Any:  # type: ignore[override]
        if isinstance(batch, Side):
            self.item_vectors.append(self._vectors("item", batch))
            return None
        scores = self._scores(batch)
        row, known = batch.alone.known
        scores.view(-1).index_fill_(0, row * scores.shape[1] + known, -torch.inf)
        best = scores.topk(min(self.top_k, scores.shape[1]), dim=1)
        return batch.user.ids, best.indices, best.values

    def _vectors(self, vocab: Vocab, side: Side) -> Tensor:
        assert self.look is not None
        vectors = self.towers.vectors(self.look, vocab, self.side(vocab, side, self.part))
        refuse_nan(vectors, f"vectors of {vocab}s")
        return vectors

    def _items(self) -> Tensor:
        """Return the vectors of all states of items (S, D)."""
        if len(self.item_vectors) > 1:
            self.item_vectors = [torch.cat(self.item_vectors)]
        return self.item_vectors[0]

    def _scores(self, batch: TimedCases) -> Tensor:
        """Return the scores (P, C) of candidates.

        Where they are in few states, one product has the scores of all of these; else each candidate's vector is read.
        """
        users, items = self._vectors("user", batch.user), self._items()
        if len(batch.item_states) <= FEW * batch.places.shape[1]:
            return (users @ items.index_select(0, batch.item_states).T).gather(1, batch.places)
        found = []
        for user, places in zip(*(of.split(max(1, READ // batch.places[0].numel())) for of in (users, batch.places))):
            keys = items.index_select(0, batch.item_states[places.flatten()]).view(*places.shape, -1)
            found.append(torch.bmm(keys, user[:, :, None]).squeeze(2))
        return torch.cat(found)
