"""Real categories under a model: their tables, and how they are added to entities' vectors (CAGE, appendix E)."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from lightning_vq.errors import UserError
from lightning_vq.lookup import Categories
from lightning_vq.types import CATEGORY, Facts, TableSpec

CategoryPlace = Literal["before", "after"]  # are they added to what is quantized, or to what came of it?


def category_tables(
    specs: Mapping[str, TableSpec], asked: Mapping[str, CategoryPlace], facts: Facts
) -> dict[str, TableSpec]:
    """Return a table of categories for each quantizable table of a vocabulary that is to have them.

    Args:
        specs: of the backbone's tables.
        asked: the vocabularies.
        facts: of the data.

    Raises:
        UserError: the data knows no categories of a vocabulary.
    """
    for vocab in asked:
        if vocab not in facts.categories:
            there = f"it knows those of {sorted(facts.categories)}" if facts.categories else "it knows none"
            raise UserError(f"model.init_args.categories names {vocab!r}, but of the data's categories {there}")
    return {
        name + CATEGORY: TableSpec(spec.vocab + CATEGORY, spec.dim, spec.init, quantizable=False, decay=spec.decay)
        for name, spec in specs.items()
        if spec.vocab in asked and spec.quantizable
    }


def added_categories(
    specs: Mapping[str, TableSpec],
    tables: Mapping[str, Tensor],
    asked: Mapping[str, CategoryPlace],
    facts: Facts | None,
) -> dict[str, Categories]:
    """Return, for each table that has categories, what is added to its vectors."""
    if not asked:
        return {}
    assert facts is not None
    return {
        name: Categories(
            tables[name + CATEGORY],
            facts.categories[spec.vocab].to(tables[name + CATEGORY].device),
            asked[spec.vocab] == "after",
        )
        for name, spec in specs.items()
        if name + CATEGORY in specs
    }
