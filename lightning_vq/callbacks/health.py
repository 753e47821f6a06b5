"""Codebook health: how the codes of every level are used, over the whole table, after every epoch.

Each rank holds the whole tables, so that every rank finds the same without a word to the others.
"""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_vq.errors import UserError
from lightning_vq.modules.base import Recommender
from lightning_vq.quantizers.usage import collisions, evenness, usage

HEAD = 0.2  # share of the entities, by training count, that is the head; the rest is the tail
MOST_LEVELS = 8  # quantizers with more (product codes) are logged as the mean and the worst of their levels


class CodebookHealth(Callback):
    """Logs `codes/<table>/level<i>/<what>` and `codes/<table>/collisions` each epoch.

    <what> is `used` (share of codes that an entity has), `dead` (codes that none has), `perplexity` (codes in
    effective use), `gini`, `changed` (share of entities with another code than an epoch ago), `used_head` and
    `used_tail` (codes that an entity of the head, of the tail has). Quantizers with more than 8 levels log `mean` and
    `worst` in place of `level<i>`. A collapsed level is told once, or stops the run.

    Args:
        fail_on_collapse: stop the run at a collapsed level, with exit status 2.
        collapse_below: a level of K codes is collapsed where (perplexity - 1) / (K - 1) is below.
    """

    def __init__(self, fail_on_collapse: bool = False, collapse_below: float = 0.05) -> None:
        if not 0 <= collapse_below < 1:
            raise UserError(f"health.collapse_below is {collapse_below}; it must be in [0, 1)")
        self.fail_on_collapse, self.collapse_below = fail_on_collapse, collapse_below
        self._before: dict[str, Tensor] = {}
        self._told: set[str] = set()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Recommender)
        for name, codes in table_codes(pl_module).items():
            sizes = _sizes(pl_module, name)
            levels = self._levels(name, codes, sizes, _is_head(pl_module, name))
            found = {f"level{i + 1}": level for i, level in enumerate(levels)}
            if len(levels) > MOST_LEVELS:
                worst = min(levels, key=lambda level: level["perplexity"])
                found = {"mean": {k: sum(v[k] for v in levels) / len(levels) for k in worst}, "worst": worst}
            values = {f"codes/{name}/{at}/{what}": v for at, level in found.items() for what, v in level.items()}
            pl_module.log_dict(values | {f"codes/{name}/collisions": collisions(codes)})
            evenly = [evenness(level["perplexity"], size) for level, size in zip(levels, sizes)]
            if min(evenly) < self.collapse_below:
                i = evenly.index(min(evenly))
                self._collapsed(name, i, levels[i], sizes[i])

    def _levels(self, name: str, codes: Tensor, sizes: list[int], head: Tensor) -> list[dict[str, float]]:
        before = self._before.get(name)
        self._before[name] = codes
        levels = []
        for i, size in enumerate(sizes):
            column = codes[:, i]
            level = dict(usage(column, size)._asdict())
            level["used_head"] = usage(column[head], size).used
            level["used_tail"] = usage(column[~head], size).used
            if before is not None:
                level["changed"] = float((column != before[:, i]).double().mean())
            levels.append(level)
        return levels

    def _collapsed(self, name: str, i: int, level: dict[str, float], size: int) -> None:
        message = (
            f"codebook collapse: {name} level {i + 1} uses {size - level['dead']:.0f} of {size} codes, perplexity "
            f"{level['perplexity']:.1f}; try --quantization.restart_dead_codes=true, or init: kmeans in its quantizer"
        )
        if self.fail_on_collapse:
            raise UserError(message)
        if name not in self._told:
            self._told.add(name)
            rank_zero_info(f"warning: {message}")

    def state_dict(self) -> dict[str, Any]:
        return {"before": self._before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["before"]


@torch.no_grad()
def table_codes(module: Recommender) -> dict[str, Tensor]:
    """Return the codes (N, L) of every table whose quantizer has codebooks and has started."""
    look = module.lookup()
    started = [name for name, q in module.quantizers.items() if q.active and q.has_codebooks]
    return {name: look.codes(name, look.rows(name)) for name in started}


def codes_used(module: Recommender) -> dict[str, list[tuple[int, int]]]:
    """Return per table and level (codes in use, codes there are)."""
    return {
        name: [(size - usage(codes[:, i], size).dead, size) for i, size in enumerate(_sizes(module, name))]
        for name, codes in table_codes(module).items()
    }


def _sizes(module: Recommender, name: str) -> list[int]:
    return module.quantizers[name].codebook_sizes  # type: ignore[return-value]


def _is_head(module: Recommender, name: str) -> Tensor:
    """Return whether each entity (N,) is among the most frequent ones in training."""
    assert module.facts is not None
    counts = module.facts.counts[module.specs[name].vocab]
    head = torch.zeros(len(counts), dtype=torch.bool)
    head[counts.argsort(descending=True, stable=True)[: round(HEAD * len(counts))]] = True
    return head.to(module.device)
