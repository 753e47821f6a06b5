"""Whether a model and its data mean the same by their numbers."""

from collections.abc import Sequence
from typing import Any

from lightning_vq.errors import UserError
from lightning_vq.types import Facts

CHANGED = "the data has changed since; train anew, or bring back what it was"


def refuse_others(ours: Facts, theirs: Facts, vocabs: Sequence[str]) -> None:
    """Refuse facts of other data than a model's.

    Args:
        ours: that the model was trained with, or made for.
        theirs: of the data at hand.
        vocabs: of which the model has tables.

    Raises:
        UserError: with what differs.
    """
    here, there = ({vocab: of.rows.get(vocab) for vocab in vocabs} for of in (ours, theirs))
    if here != there:
        raise UserError(f"the model was made for {here} entities, the data has {there}: {CHANGED}")
    changed = [vocab for vocab in vocabs if ours.ids.get(vocab) != theirs.ids.get(vocab)]
    if changed:
        raise UserError(f"model and data number their {changed} differently: {CHANGED}")
    if ours.coded_by and theirs.coded_by and ours.coded_by != theirs.coded_by:  # an earlier version told neither
        raise UserError(
            "the run of model.init_args.patterns has been run anew since this model was trained with its codes: train "
            "it anew, too, or bring back what it was"
        )
    if ours.length != theirs.length:
        told = f"the model was made for lists of up to {ours.length} items, the data has some of {theirs.length}"
        raise UserError(f"{told}: see data.init_args.max_length, or train anew")
    for what in ("fields", "sequences", "numbers", "moments"):
        before, now = getattr(ours, what), getattr(theirs, what)
        if _plain(before) != _plain(now):
            raise UserError(f"the model was made for {what} {before}, the data has {now}, in this order: {CHANGED}")


def _plain(told: Any) -> list[tuple[Any, ...]]:
    """Return names, and what belongs to them, in their order; numbers to nine places, as machines sum differently."""
    if not isinstance(told, dict):
        return [(name,) for name in told]
    return [(k, v) if isinstance(v, str) else (k, *(f"{x:.9g}" for x in v)) for k, v in told.items()]
