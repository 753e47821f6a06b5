"""tree/ of a run folder: what a trained model and the vocabularies beside it say of its learned trees.

Both `fit`, at its end, and `python -m lightning_vq tree` write it with these functions. Shapes: N entities, L levels.
"""

from pathlib import Path
from typing import NamedTuple

from lightning_vq.agreement import Agreement, agreement, members
from lightning_vq.errors import UserError
from lightning_vq.figures import draw_coverage
from lightning_vq.modules.base import Recommender
from lightning_vq.quantizers import Cascaded
from lightning_vq.runs import write_json
from lightning_vq.sources.interactions import Array
from lightning_vq.tree import code_paths, write_codes, write_tree
from lightning_vq.tree_page import write_page
from lightning_vq.vocabulary import Vocabulary, read_vocabulary


class Tree(NamedTuple):
    """The tree of one table, and the files that tell of it."""

    vocabulary: Vocabulary  # (N)
    codes: Array  # (N, L) fine to coarse
    levels: list[Agreement]  # (L) with the real categories; empty where none are known
    paths: list[Path]


def tree_tables(module: Recommender) -> list[str]:
    """Return the tables whose codes are a tree: those of other quantizers have no parents."""
    return [table for table, q in module.quantizers.items() if isinstance(q, Cascaded) and q.active]


def read_codes(run: Path, module: Recommender) -> dict[str, tuple[Vocabulary, Array, Array]]:
    """Return per table with a tree its vocabulary (N), codes (N, L) and distances (N,).

    Raises:
        UserError: the vocabulary is not there, has no counts, or is not that of the model.
    """
    read = {}
    for table in tree_tables(module):
        vocab = module.specs[table].vocab
        vocabulary = read_vocabulary(run, vocab)
        codes, distance = code_paths(module, table)
        if len(vocabulary.ids) != len(codes):
            raise UserError(f"{run}: vocab/{vocab}.parquet has {len(vocabulary.ids)} rows, the model {len(codes)}")
        read[table] = (vocabulary, codes, distance)
    return read


def write_trees(run: Path, module: Recommender, figures: bool = True) -> dict[str, Tree]:
    """Write tree/ of a run, for each table with a tree, and return the trees by table.

    <table>.html to explore, <table>.json nested, <table>.parquet with the code path of each id; where real categories
    are known also <table>_agreement.json and <table>_coverage.png.

    Args:
        run: folder, with its vocab/.
        module: at the epoch to tell of.
        figures: also draw.

    Raises:
        UserError: as `read_codes`.
    """
    trees = {}
    for table, (vocabulary, codes, distance) in read_codes(run, module).items():
        folder, known = run / "tree", vocabulary.metadata
        write_tree(folder, table, vocabulary.ids, codes)
        write_codes(folder, table, vocabulary.ids, codes, distance)
        write_page(
            folder / f"{table}.html", f"{table} tree of {run.resolve().parent.name}/{run.resolve().name}",
            vocabulary.ids.to_pylist(), codes, vocabulary.counts,
            known.titles if known else None, known.categories if known else None, f"{module.specs[table].vocab}s",
        )  # fmt: skip
        paths = [folder / f"{table}.{kind}" for kind in ("html", "json", "parquet")]
        levels = _agreements(codes, known.categories) if known else []
        if levels:
            paths.append(folder / f"{table}_agreement.json")
            write_json(paths[-1], {"items": levels[0].items, "levels": [_plain(level) for level in levels]})
        if levels and figures:
            paths.append(folder / f"{table}_coverage.png")
            draw_coverage(paths[-1], f"Real categories covered by codes: {table}", levels)
        trees[table] = Tree(vocabulary, codes, levels, paths)
    return trees


def _agreements(codes: Array, categories: list[list[str]]) -> list[Agreement]:
    of = members(categories)
    levels = (agreement(codes[:, i], of) for i in range(codes.shape[1]))
    return [level for level in levels if level is not None]


def _plain(level: Agreement) -> dict[str, object]:
    return {"codes": level.codes, **{name: one._asdict() for name, one in level.statistics.items()}}
