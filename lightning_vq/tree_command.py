"""`python -m lightning_vq tree --run DIR`: the learned trees of a run as files, and how well they agree.

Shapes: N entities that two runs share.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from lightning_vq.agreement import Agreement, stability
from lightning_vq.errors import UserError
from lightning_vq.messages import quieten
from lightning_vq.modules import CollaborativeFiltering, ListCompletion
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.checkpoint import checked_checkpoint
from lightning_vq.parser import Parser
from lightning_vq.runs import checked_run
from lightning_vq.terminal import console
from lightning_vq.tree_folder import Tree, read_codes, tree_tables, write_trees


def main(arguments: list[str]) -> None:
    """Run the verb.

    Raises:
        UserError: a wrong argument, a folder that is not a whole run of this version, a run without quantizers, two
            runs that share no table or no entity.
    """
    about = (
        "Write the learned category trees of a run's best epoch, to explore in a browser, and say how well they agree."
    )
    parser = Parser(prog="python -m lightning_vq tree", description=about, allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="a run folder; its tree/ is written")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="another run, of another seed say, or a checkpoint such as DIR/last.ckpt: are trees stable?",
    )
    options = parser.parse_args(arguments)
    quieten()
    module = _best(options.run)
    other = None if options.against is None else _best(options.against)  # refused before anything is written
    trees = write_trees(options.run, module)
    for table, tree in trees.items():
        for path in tree.paths:
            print(path)
        if tree.levels:
            rows = agreement_rows(tree.levels)
            caption = "Shuffled: the same codes dealt out at random; mean and 95 % interval of 100 draws."
            _show(f"{table} codes and real categories", rows, "learned", "shuffled codes", caption)
    if type(module) in (CollaborativeFiltering, ListCompletion) and "item" in trees and not trees["item"].levels:
        print(
            "No categories are known, which codes could agree with: --data.init_args.item_file=FILE of a fit tells some"
        )
    if other is not None:
        folder = options.against.parent if options.against.suffix == ".ckpt" else options.against
        rows = stability_rows(options.run, trees, folder, other)
        caption = f"Adjusted mutual information with {options.against}: 0 is chance, 1 the same."
        _show("Stability", rows, "AMI", "shared", caption)


def _best(run: Path) -> Recommender:
    """Return the model of a run at its best epoch, or of a checkpoint."""
    weights = run if run.suffix == ".ckpt" else checked_run(run, "best.ckpt")[1]
    module = Recommender.load_from_checkpoint(checked_checkpoint(weights))
    if not module.quantizers:
        raise UserError(f"{run} is a run without quantizers: it has learned no tree")
    if not tree_tables(module):
        kinds = ", ".join(sorted({type(quantizer).__name__ for quantizer in module.quantizers.values()}))
        raise UserError(f"{run} has no tree: Cascaded learns one once it has started, and its quantizers are {kinds}")
    return module


def agreement_rows(levels: list[Agreement]) -> list[tuple[str, str, str]]:
    """Return (statistic, learned, null with its interval) of every level."""
    return [
        (
            f"level {i} ({level.codes} codes): {name}",
            f"{one.value:.3f}",
            f"{one.null:.3f} [{one.low:.3f}, {one.high:.3f}]",
        )
        for i, level in enumerate(levels, start=1)
        for name, one in level.statistics.items()
    ]


def stability_rows(run: Path, trees: dict[str, Tree], against: Path, other: Recommender) -> list[tuple[str, str, str]]:
    """Return (table and level, AMI, number of shared entities) of two runs.

    Raises:
        UserError: they share no table with a tree, or a table's entities have no id in common.
    """
    rows = []
    theirs = read_codes(against, other)
    for table, tree in trees.items():
        if table not in theirs:
            continue
        vocabulary, codes, _ = theirs[table]
        place = pc.index_in(tree.vocabulary.ids.cast(pa.string()), vocabulary.ids.cast(pa.string()))
        shared = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
        if not len(shared):
            raise UserError(f"{run} and {against} have no {table} in common")
        at = place.take(pa.array(shared)).to_numpy()
        for level in range(min(tree.codes.shape[1], codes.shape[1])):
            score = stability(tree.codes[shared, level], codes[at, level])
            rows.append((f"{table} level {level + 1}", f"{score:.3f}", f"{len(shared):,}"))
    if not rows:
        raise UserError(f"{run} and {against} have a tree on no table in common")
    return rows


def _show(title: str, rows: list[tuple[str, str, str]], value: str, beside: str, caption: str) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in (value, beside):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    wide = console(110)
    wide.print(table)
    wide.print(caption, style="italic", highlight=False)
