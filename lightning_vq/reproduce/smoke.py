"""A table on planted data, two epochs a fit: does all of it run, on a machine without its data? No figure counts."""

from dataclasses import replace

from lightning_vq.reproduce.paper import Budget, Paper, Row

BUDGET = Budget(trials=1, fixed={"trainer.max_epochs": 2})
LARGE = {"data.init_args.planted": {"items": 1500}}  # more items than any codebook of a shipped table has codes
OF_CHAINS = {"data.init_args.planted": {"users": 300, "items": 150}}


def smoke_test(paper: Paper) -> Paper:
    """Return a table with every row that can be on planted data, one trial and one seed each."""
    rows = [_planted(row) for row in paper.rows if row.source is not None]
    names = {row.name for row in rows}
    rows = [row if row.over in names else replace(row, over=None) for row in rows]
    return replace(
        paper, title=f"Smoke test: {paper.title}", about="", rows=rows,
        budgets={"smoke": BUDGET}, seeds=1, tolerance=None, drawing=None,
    )  # fmt: skip


def own_data(row: Row) -> bool:
    """Return whether a row needs its own data: its columns are told in a file, or who made its lists counts."""
    return any(base.startswith("conf/data/") for base in row.base) or any("creators" in key for key in row.fixed)


def _planted(row: Row) -> Row:
    row = replace(row, seeds=None, paper={}, comparable=True, note=None)
    if own_data(row):
        return row
    if row.refit_of is not None:
        return replace(row, source="planted")
    if row.chain is not None:
        return replace(row, source="planted", fixed=row.fixed | OF_CHAINS, stages={"trainer.max_epochs": 2})
    return replace(row, source="planted", fixed=row.fixed | LARGE)
