"""Semantic ids and neighbours of users and items at every moment, from the runs that learned them.

DQRec, section 4.2-4.3: the model of the first stage, which reads no ids, represents an entity in any state; the frozen
DQ-VAE of the second one codes the representation. Neighbours are among entities as they were after training.
Shapes: N entities, S states, M of either kind, L codes, K neighbours, K' more of each latent pattern.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_vq.backbones.timed.feature_tower import FeatureTower
from lightning_vq.backbones.towers import VOCABS
from lightning_vq.data.timed import TimedData
from lightning_vq.data.timed_evaluation import CHUNK
from lightning_vq.data.timeline import Timeline
from lightning_vq.errors import UserError
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.vectors import VectorQuantization
from lightning_vq.quantizers.dqvae import DQVAE
from lightning_vq.quantizers.neighbours import Patterns, distinct, latent_patterns, union, without
from lightning_vq.runs import checked_run, read_yaml
from lightning_vq.types import Side


def pattern_sizes(run: Path) -> dict[str, tuple[int, ...]]:
    """Return how many codes each position of semantic ids has, by vocabulary.

    Raises:
        UserError: the folder is not of a run that codes users and items.
    """
    module = quantization_of(run)
    missing = [vocab for vocab in VOCABS if vocab not in module.quantizers]
    if missing:
        raise UserError(f"{run} codes no {missing[0]}s: quantization.quantizers must name user and item")
    return {vocab: tuple(module.quantizers[vocab].codebook_sizes) for vocab in VOCABS}  # type: ignore[arg-type]


def quantization_of(run: Path) -> VectorQuantization:
    """Return the model of a run that codes vectors.

    Raises:
        UserError: the folder is not of such a run.
    """
    _, weights = checked_run(run, "best.ckpt")
    return VectorQuantization.load_from_checkpoint(weights)


class Augmentation:
    """What is known of every state of users and items.

    Args:
        run: folder of a VectorQuantization's run, of users and items.
        data: set up, of the same users and items.
        links: neighbours of each (K).
        latent_links: more of each latent pattern (K').
        static_codes: codes are those of entities after training.

    Raises:
        UserError: the runs are of other users or items, or their vectors are of no moment.
    """

    def __init__(self, run: Path, data: TimedData, links: int, latent_links: int, static_codes: bool) -> None:
        self.links, self.latent_links = links, latent_links
        module, facts = quantization_of(run), data.facts()
        assert module.facts is not None
        for vocab in VOCABS:
            if module.facts.ids[vocab] != facts.ids[vocab]:
                raise UserError(f"{run} codes other {vocab}s than those of the data: run the stages on the same data")
        model = None if static_codes else _model_of(run)
        self._codes: dict[tuple[str, bool], Tensor] = {}
        self._of: dict[tuple[str, bool], Tensor] = {}  # row of the neighbours of each state (S,)
        self._latent_of: dict[tuple[str, bool], Tensor] = {}  # and of its latent patterns (S, L)
        self._near: dict[str, Tensor] = {}
        self._latent_near: dict[str, Tensor] = {}
        for vocab in VOCABS:
            quantizer = module.quantizers[vocab]
            if not isinstance(quantizer, DQVAE):
                raise UserError(f"{run} codes {vocab}s by {type(quantizer).__name__}: patterns are of a DQVAE")
            with torch.no_grad():
                self._of_vocabulary(vocab, quantizer, module.tables[vocab], model, data)

    def codes(self, vocab: str, side: Side, trained: bool) -> Tensor:
        """Return the codes (M, L) of states, numbered through all positions."""
        return self._codes[vocab, trained].to(side.states.device)[side.states].long()

    def linked(self, vocab: str, side: Side, trained: bool) -> Tensor:
        """Return the neighbours (M, Q) of states, -1 for none: K, and those of latent patterns, each once."""
        states = side.states.cpu()
        owners = side.ids.cpu()
        near = without(self._near[vocab][self._of[vocab, trained][states].long()].long(), owners, self.links)
        if self.latent_links:
            rows = self._latent_near[vocab][self._latent_of[vocab, trained][states].long()].long()  # (M, L, K' + 1)
            each = owners.repeat_interleave(rows.shape[1])
            more = without(rows.flatten(0, 1), each, self.latent_links).view(len(near), -1)
            near = union(torch.cat([near, more], dim=1))
        return near.to(side.states.device)

    def _of_vocabulary(
        self, vocab: str, quantizer: DQVAE, vectors: Tensor, model: Recommender | None, data: TimedData
    ) -> None:
        stored = quantizer.encode(vectors, torch.arange(len(vectors)))
        latent = quantizer.latent(vectors)
        offsets = torch.tensor([0, *quantizer.codebook_sizes[:-1]]).cumsum(0)
        codes, latents = {}, {}
        for trained, timeline in ((True, data.trained[vocab]), (False, data.whole[vocab])):
            if model is None:
                owners = timeline.owners(torch.arange(timeline.states))
                codes[trained], latents[trained] = stored[owners], latent[owners]
            else:
                codes[trained], latents[trained] = _coded(vocab, quantizer, timeline, model, data.recent)
            self._codes[vocab, trained] = (codes[trained] + offsets).int()
        known, every = Patterns(stored, quantizer.distances()), torch.cat([codes[True], codes[False]])
        self._near[vocab], of = _searched(known, every, quantizer.codebook_sizes, self.links)
        split = [len(codes[True]), len(codes[False])]
        self._of[vocab, True], self._of[vocab, False] = of.split(split)
        if self.latent_links:
            swapped = latent_patterns(every, torch.cat([latents[True], latents[False]]))
            rows = (known, swapped.flatten(0, 1), quantizer.codebook_sizes, self.latent_links)
            self._latent_near[vocab], of = _searched(*rows)
            of = of.view(swapped.shape[:2])
            self._latent_of[vocab, True], self._latent_of[vocab, False] = of.split(split)


def _searched(known: Patterns, codes: Tensor, sizes: list[int], k: int) -> tuple[Tensor, Tensor]:
    """Return the k + 1 nearest entities of distinct codes (P, k + 1), and the place (M,) there of each of codes (M, L).

    One more than is asked for, since an entity is not its own neighbour.
    """
    patterns, place = distinct(codes, sizes)
    return known.nearest(patterns, k + 1).rows.int(), place.int()


def _coded(vocab: str, quantizer: DQVAE, timeline: Timeline, model: Recommender, recent: int) -> tuple[Tensor, Tensor]:
    """Return the codes (S, L) of every state of a vocabulary, and the second nearest ones (S, L)."""
    look, backbone, found = model.lookup(), model.backbone, []
    assert isinstance(backbone, FeatureTower)
    for states in torch.arange(timeline.states).split(CHUNK):
        side = Side(timeline.owners(states), states, timeline.recent(states, recent))
        vectors = backbone.vectors(look, vocab, side)  # type: ignore[arg-type]
        found.append((quantizer.encode(vectors, side.ids).short(), quantizer.latent(vectors).short()))
    codes, latent = (torch.cat(parts).long() for parts in zip(*found))
    return codes, latent


def _model_of(run: Path) -> Recommender:
    """Return the model whose vectors a run has coded.

    Raises:
        UserError: it coded vectors of files, or of a model that reads ids.
    """
    vectors: Any = read_yaml(run / "config.yaml")["data"]["init_args"]["vectors"]
    if not isinstance(vectors, str):
        raise UserError(f"{run} codes vectors of files, which are of no moment: set model.init_args.static_codes=true")
    _, weights = checked_run(Path(vectors), "best.ckpt")
    model = Recommender.load_from_checkpoint(weights)
    if not isinstance(model.backbone, FeatureTower):
        raise UserError(
            f"{vectors} is of {type(model.backbone).__name__}, which represents entities and not their moments: "
            "set model.init_args.static_codes=true"
        )
    return model.eval()
