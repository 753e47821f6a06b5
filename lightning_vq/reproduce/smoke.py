"""A table on planted data, two epochs a fit: does all of it run, on a machine without its data? No figure counts."""

import re
from dataclasses import replace

from lightning_vq.reproduce.paper import Budget, Paper, Row

BUDGET = Budget(trials=1, fixed={"trainer.max_epochs": 2})
ABOUT = "Smoke test on planted data: no figure of it means anything."
LARGE = {"data.init_args.planted": {"items": 1500}}  # more items than any codebook of a shipped table has codes
OTHER_TABLE = re.compile(r"quantization\.quantizers\.(?!user\b|item\b)")
OF_CHAINS = {"data.init_args.planted": {"users": 300, "items": 150}}
FEATURES = ("data.init_args.user_features", "data.init_args.item_features")


def smoke_test(paper: Paper) -> Paper:
    """Return a table with every row that can be on planted data, one trial and one seed each."""
    rows = [_planted(row) for row in paper.rows if _runs(row)]
    names = {row.name for row in rows}
    rows = [row if row.over in names else replace(row, over=None) for row in rows]
    # Planted clicks are grouped by users, and by nothing else.
    columns = {column: name.replace("/impression", "/user") for column, name in paper.columns.items()}
    about = " ".join([ABOUT, *_left_out(paper)])
    return replace(
        paper, title=f"Smoke test: {paper.title}", about=about, columns=columns, rows=rows,
        budgets={"smoke": BUDGET}, seeds=1, tolerance=None, drawing=None,
    )  # fmt: skip


def _left_out(paper: Paper) -> list[str]:
    """Return which rows of a table are not on planted data, and why."""
    without = [row.name for row in paper.rows if not _runs(row)]
    own = [row.name for row in paper.rows if _runs(row) and own_data(row)]
    found = []
    if without:
        found.append(f"Left out, since no config says how they would run: {', '.join(without)}.")
    if own:
        found.append(f"On their own data, of which they name what planted data lacks: {', '.join(own)}.")
    return found


def own_data(row: Row) -> bool:
    """Return whether a row needs its own data: it names who made its lists, or quantizes its own columns."""
    return any("creators" in key or OTHER_TABLE.match(key) for key in row.fixed)


def _runs(row: Row) -> bool:
    return bool(row.source or row.base or row.chain)


def _planted(row: Row) -> Row:
    row = replace(row, seeds=None, paper={}, comparable=True, note=None)
    if own_data(row):
        return row
    if row.refit_of is not None:
        return replace(row, get=None, source="planted")
    if row.chain is not None:
        return replace(row, get=None, source="planted", fixed=row.fixed | OF_CHAINS, stages={"trainer.max_epochs": 2})
    base = [file for file in row.base if not file.startswith("conf/data/")]  # which tell another source's columns
    fixed = {key: value for key, value in row.fixed.items() if key not in FEATURES}  # planted ones have other names
    return replace(row, get=None, source="planted", base=base, fixed=fixed | LARGE)
