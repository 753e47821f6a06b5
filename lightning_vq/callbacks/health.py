"""Codebook health: how the codes of every level are used, over the whole table, after every epoch.

A level is a codebook: of product codes there is one for each part of the vector, and for each tier that has its own.

Every rank sees the whole tables, so that all find the same.
"""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_vq.callbacks.quantization import QuantizationCallback
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
    `worst` in place of `level<i>`. A collapsed level is told once, or stops the run; where dead codes are restarted,
    only if the restart has not repaired it an epoch later.

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
        self._low: set[str] = set()  # tables with a collapsed level at the end of the last epoch
        self._failed = ""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._refuse()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._refuse()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Recommender)
        for name, codes in table_codes(pl_module).items():
            books = self._books(pl_module, name, codes)
            found = {f"level{i + 1}": book for i, (book, _) in enumerate(books)}
            if len(books) > MOST_LEVELS:
                worst = min((book for book, _ in books), key=lambda book: book["perplexity"])
                found = {"mean": {k: sum(b[k] for b, _ in books) / len(books) for k in worst}, "worst": worst}
            values = {f"codes/{name}/{at}/{what}": v for at, level in found.items() for what, v in level.items()}
            pl_module.log_dict(values | {f"codes/{name}/collisions": collisions(codes)})
            evenly = [evenness(book["perplexity"], size) for book, size in books]
            if min(evenly) < self.collapse_below:
                i = evenly.index(min(evenly))
                callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
                restarts = any(isinstance(c, QuantizationCallback) and c.restart_dead_codes for c in callbacks)
                where = f"{name} level {i + 1}" if len(books) <= MOST_LEVELS else name
                self._collapsed(where, *books[i], restarts, again=name in self._low)
                self._low.add(name)
            else:
                self._low.discard(name)

    def _books(self, module: Recommender, name: str, codes: Tensor) -> list[tuple[dict[str, float], int]]:
        """Return statistics and size of every codebook of a table, given its codes (N, L)."""
        uses, head = _uses(module, name, codes), _is_head(module, name)
        before = self._before.get(name)
        now = codes.cpu()
        self._before[name] = now.to(_smallest(max(size for _, _, size in uses)))
        old = None if before is None else _uses(module, name, before.to(codes))
        books = []
        for i, (rows, column, size) in enumerate(uses):
            book = dict(usage(column, size)._asdict())
            book["used_head"] = usage(column[head[rows]], size).used
            book["used_tail"] = usage(column[~head[rows]], size).used
            if old is not None:
                book["changed"] = float((column != old[i][1]).double().mean())
            books.append((book, size))
        return books

    def _collapsed(self, where: str, book: dict[str, float], size: int, restarts: bool, again: bool) -> None:
        if restarts and not again:  # the next epoch begins with a restart: it may be repaired by then
            return
        message = (
            f"codebook collapse: {where} uses {size - book['dead']:.0f} of {size} codes, perplexity "
            f"{book['perplexity']:.1f} (evenness below health.collapse_below={self.collapse_below}); "
        )
        if restarts:
            message += "restarts have not repaired it: try init: kmeans in its quantizer, or fewer codes"
        else:
            message += "try --quantization.restart_dead_codes=true, or init: kmeans in its quantizer"
        if self.fail_on_collapse:
            self._failed = message
        elif where not in self._told:
            self._told.add(where)
            rank_zero_info(f"warning: {message}")

    def _refuse(self) -> None:
        """Stop after a collapse, once the epoch's history and checkpoint have been written."""
        if self._failed:
            raise UserError(self._failed)

    def state_dict(self) -> dict[str, Any]:
        return {"before": self._before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = state_dict["before"]


@torch.no_grad()
def table_codes(module: Recommender) -> dict[str, Tensor]:
    """Return the codes (N, L) of every table whose quantizer has codebooks and has started."""
    look = module.lookup()
    started = [name for name, q in module.quantizers.items() if q.active and q.has_codebooks]
    return {name: look.all_codes(name) for name in started}


def codes_used(module: Recommender) -> dict[str, list[tuple[int, int]]]:
    """Return per table and codebook (codes in use, codes there are)."""
    return {
        name: [(size - usage(column, size).dead, size) for _, column, size in _uses(module, name, codes)]
        for name, codes in table_codes(module).items()
    }


def _uses(module: Recommender, name: str, codes: Tensor) -> list[tuple[Tensor, Tensor, int]]:
    return module.quantizers[name].codebook_uses(codes)  # type: ignore[operator]


def _smallest(size: int) -> torch.dtype:
    """Return the smallest integer type that holds codes 0 to size - 1."""
    return next(t for t in (torch.uint8, torch.int16, torch.int32, torch.int64) if size - 1 <= torch.iinfo(t).max)


def _is_head(module: Recommender, name: str) -> Tensor:
    """Return whether each entity (N,) is among the most frequent ones in training."""
    assert module.facts is not None
    counts = module.facts.counts[module.specs[name].vocab]
    head = torch.zeros(len(counts), dtype=torch.bool)
    head[counts.argsort(descending=True, stable=True)[: round(HEAD * len(counts))]] = True
    return head.to(module.device)
