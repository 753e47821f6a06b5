"""Semantic ids and neighbours of users and items at every moment, from the runs that learned them.

DQRec, section 4.2-4.3: the model of the first stage, which reads no ids, represents an entity in any state; the frozen
DQ-VAE of the second one codes the representation. Neighbours are among entities as they were after training.
Shapes: N entities, S states, M of either kind, L codes, K neighbours, K' more of each latent pattern.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_vq.backbones.timed.feature_tower import FeatureTower
from lightning_vq.backbones.towers import VOCABS
from lightning_vq.data.timed import TimedData
from lightning_vq.data.timed_evaluation import CHUNK
from lightning_vq.data.timeline import Timeline
from lightning_vq.data.vectors import FOLDER, read_vectors
from lightning_vq.errors import UserError
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.vectors import VectorQuantization
from lightning_vq.quantizers.dqvae import DQVAE
from lightning_vq.quantizers.neighbours import Neighbours, Patterns, latent_patterns, union, without
from lightning_vq.runs import checked_run, read_yaml
from lightning_vq.types import Side


def patterns_of(run: Path) -> tuple[dict[str, tuple[int, ...]], str]:
    """Return how many codes each position of semantic ids has, by vocabulary, and a digest of what codes them.

    Raises:
        UserError: the folder is not of a run that codes users and items.
    """
    module = quantization_of(run)
    missing = [vocab for vocab in VOCABS if vocab not in module.quantizers]
    if missing:
        raise UserError(f"{run} codes no {missing[0]}s: quantization.quantizers must name user and item")
    return {vocab: tuple(module.quantizers[vocab].codebook_sizes) for vocab in VOCABS}, _digest(module)  # type: ignore[arg-type]


def _digest(module: VectorQuantization) -> str:
    """Return a digest of the quantizers of users and items, whose codes a model has learned the meaning of."""
    found = hashlib.sha256()
    for vocab in VOCABS:
        for name, value in module.quantizers[vocab].state_dict().items():
            found.update(f"{vocab} {name}".encode() + value.cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def quantization_of(run: Path) -> VectorQuantization:
    """Return the model of a run that codes vectors.

    Raises:
        UserError: the folder is not of such a run.
    """
    _, weights = checked_run(run, "best.ckpt")
    try:
        return VectorQuantization.load_from_checkpoint(weights).eval()
    except UserError as error:
        raise UserError(f"{run} is no run of VectorQuantization, which codes vectors: {error}") from None


class States(NamedTuple):
    """What is known of the states of users, or of items."""

    codes: Tensor  # (S, L) int32 numbered through all positions
    near: Tensor | None  # (S,) int32 row of their semantic id's Neighbours; None: not asked for
    latent: Tensor | None  # (S, L) int32 row of each latent pattern's; None: not asked for


class Augmentation:
    """What is known of every state of users and items; found when it is first asked for.

    Args:
        run: folder of a VectorQuantization's run, of users and items.
        data: set up, of the same users and items.
        links: neighbours of each (K).
        latent_links: more of each latent pattern (K').
        static_codes: codes are those of entities after training.
        linked: vocabularies of which `linked` will be asked.
        digest: of what has coded the patterns that a model was trained with, see `patterns_of`; "": not known.

    Raises:
        UserError: the runs are of other users or items, or of other training interactions than the data's, or have
            been run anew since the model was trained; or their vectors are of no moment.
    """

    def __init__(
        self, run: Path, data: TimedData, links: int, latent_links: int, static_codes: bool,
        linked: tuple[str, ...] = VOCABS, digest: str = "",
    ) -> None:  # fmt: skip
        self.data, self.links, self.latent_links, self.of_links = data, links, latent_links, linked
        self.module, facts = quantization_of(run), data.facts()
        assert self.module.facts is not None
        if digest and digest != _digest(self.module):
            raise UserError(f"{run} has been run anew since this model was trained with its codes: train it anew, too")
        self.stored, self.near, self.latent_near = dict[str, Tensor](), dict[str, Neighbours](), dict[str, Neighbours]()
        for vocab in VOCABS:
            if self.module.facts.ids[vocab] != facts.ids[vocab]:
                raise UserError(f"{run} codes other {vocab}s than those of the data: run the stages on the same data")
            quantizer = self.module.quantizers[vocab]
            if not isinstance(quantizer, DQVAE):
                raise UserError(f"{run} codes {vocab}s by {type(quantizer).__name__}: patterns are of a DQVAE")
            vectors = self.module.tables[vocab]
            with torch.no_grad():
                self.stored[vocab] = quantizer.encode(vectors, torch.arange(len(vectors)))
                patterns = Patterns(self.stored[vocab], quantizer.distances())
            # One more than is asked for, since an entity is not its own neighbour.
            self.near[vocab] = Neighbours(patterns, links + 1)
            self.latent_near[vocab] = Neighbours(patterns, latent_links + 1)
        # A sequence is as long as the model of the vectors has learned to read it.
        self.coder = _coder(run, self.module, facts.pairs, static_codes)
        self._states: dict[tuple[str, int], States] = {}

    def codes(self, vocab: str, side: Side, part: int) -> Tensor:
        """Return the codes (M, L) of states, numbered through all positions.

        Args:
            vocab: whose states.
            side: of them.
            part: up to which interactions show the states.
        """
        return self._known(vocab, part).codes[side.states.cpu()].long().to(side.states.device)

    def linked(self, vocab: str, side: Side, part: int) -> Tensor:
        """Return the neighbours (M, Q) of states, -1 for none: K, and those of latent patterns, each once."""
        known, states, owners = self._known(vocab, part), side.states.cpu(), side.ids.cpu()
        assert known.near is not None
        near = without(self.near[vocab].rows[known.near[states].long()].long(), owners, self.links)
        if known.latent is not None:
            rows = self.latent_near[vocab].rows[known.latent[states].long()].long()  # (M, L, K' + 1)
            each = owners.repeat_interleave(rows.shape[1])
            more = without(rows.flatten(0, 1), each, self.latent_links).view(len(near), -1)
            near = union(torch.cat([near, more], dim=1))
        return near.to(side.states.device)

    @torch.no_grad()
    def _known(self, vocab: str, part: int) -> States:
        if (vocab, part) in self._states:
            return self._states[vocab, part]
        quantizer, vectors = self.module.quantizers[vocab], self.module.tables[vocab]
        assert isinstance(quantizer, DQVAE)
        timeline = self.data.timelines[part][vocab]
        if self.coder is None:
            owners = timeline.owners(torch.arange(timeline.states))
            codes, latent = (of[owners] for of in (self.stored[vocab], quantizer.latent(vectors, self.stored[vocab])))
        else:
            codes, latent = _coded(vocab, quantizer, timeline, *self.coder)
        near = more = None
        if vocab in self.of_links:
            near = self.near[vocab].places(codes)
        if vocab in self.of_links and self.latent_links:
            # Position by position: that many ids at once would take as often the memory of all codes.
            each = [self.latent_near[vocab].places(one) for one in latent_patterns(codes, latent)]
            more = torch.stack(each, 1)
        offsets = torch.tensor([0, *quantizer.codebook_sizes[:-1]]).cumsum(0)
        known = States((codes + offsets).int(), near, more)
        self._states[vocab, part] = known
        return known


def _coded(vocab: str, quantizer: DQVAE, timeline: Timeline, model: Recommender, recent: int) -> tuple[Tensor, Tensor]:
    """Return the codes (S, L) of every state of a vocabulary, and the second nearest ones (S, L)."""
    look, backbone, found = model.lookup(), model.backbone, []
    assert isinstance(backbone, FeatureTower)
    for states in torch.arange(timeline.states).split(CHUNK):
        side = timeline.side(states, recent)
        vectors = backbone.vectors(look, vocab, side)  # type: ignore[arg-type]
        codes = quantizer.encode(vectors, side.ids)
        found.append((codes.short(), quantizer.latent(vectors, codes).short()))
    whole, latent = (torch.cat(parts).long() for parts in zip(*found))
    return whole, latent


def _coder(run: Path, coded: VectorQuantization, pairs: Tensor | None, static: bool) -> tuple[Recommender, int] | None:
    """Return the model whose vectors a run has coded, and how many others its sequences hold (T).

    None for static codes, which need neither.

    Args:
        run: that coded them.
        coded: its model.
        pairs: (E, 2) training interactions, which that model's must be among.
        static: codes are those after training.

    Raises:
        UserError: it coded vectors of a model that was trained on other interactions; or, if codes are not static, of
            files, of a model that reads ids, or of one that has been trained anew since.
    """
    vectors: Any = read_yaml(run / "config.yaml")["data"]["init_args"]["vectors"]
    if static and not (isinstance(vectors, str) and Path(vectors).is_dir()):
        return None  # of files, or of a run that is not there any more: codes are all that is needed
    if not isinstance(vectors, str):
        raise UserError(f"{run} codes vectors of files, which are of no moment: set model.init_args.static_codes=true")
    _, weights = checked_run(Path(vectors), "best.ckpt")
    model = Recommender.load_from_checkpoint(weights)
    assert model.facts is not None
    unknown = _without(model.facts.pairs, pairs)
    if unknown:
        raise UserError(
            f"{vectors} was trained on {unknown:,} interactions that are not among the training ones of this data: its "
            "codes may know of what is held out. Run the stages on the same data and split"
        )
    if static:
        return None
    if not isinstance(model.backbone, FeatureTower):
        raise UserError(
            f"{vectors} is of {type(model.backbone).__name__}, which represents entities and not their moments: "
            "set model.init_args.static_codes=true"
        )
    for vocab in VOCABS:
        _, now = read_vectors(Path(vectors) / FOLDER / f"{vocab}.parquet", vocab)
        if not torch.equal(now, coded.tables[vocab]):
            raise UserError(f"{vectors} has been run anew since {run} coded its vectors: run that one anew, too")
    return model.eval(), int(read_yaml(Path(vectors) / "config.yaml")["data"]["init_args"]["recent"])


def _without(pairs: Tensor | None, known: Tensor | None) -> int:
    """Return how many pairs (E, 2) of users and items are not among known ones; 0 where either are not told."""
    if pairs is None or known is None:
        return 0
    mine, theirs = (of[:, 0].long() << 32 | of[:, 1].long() for of in (pairs, known))
    return int((~torch.isin(mine, theirs)).sum())
