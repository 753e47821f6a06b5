"""Every table that is shipped, and the one that the documentation shows, can be trained."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_table import LR

from lightning_vq.chain_command import run_stages
from lightning_vq.reproduce.check import _missing, refusals
from lightning_vq.reproduce.files import every_name
from lightning_vq.reproduce.paper import Paper, Row, read_paper
from lightning_vq.reproduce.runs import RowRuns
from lightning_vq.reproduce.smoke import own_data, smoke_test
from lightning_vq.reproduce.steps import read_steps
from lightning_vq.sweep import processes
from lightning_vq.sweep.command import trial_options
from lightning_vq.sweep.settings import read_settings
from lightning_vq.sweep.space import read_space

SHIPPED = [name for name in every_name() if read_steps(name) is None]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_table_can_be_trained(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each kind of a table's fits passes what a sweep checks before its first trial, and has the table's columns.

    On the planted data; rows that need their own are checked on that, if it is at hand.
    """
    paper = smoke_test(read_paper(name)[1])
    folder = tmp_path_factory.getbasetemp() / name.replace("/", "-")  # tables beside each other share stages of chains
    folder.mkdir()
    seen, fits = set(), []
    for row in paper.rows:
        what = (row.chain, *row.base, *row.fixed, *row.space)  # rows that differ in values alone are of one kind
        if row.source is None or row.refit_of is not None or what in seen:
            continue
        if own_data(row) and row.at_hand(paper.root(row)):
            continue
        seen.add(what)
        settings = sweep_file(paper, row, folder)
        lowest = [
            option
            for parameter in read_space(settings.space)
            for option in parameter.options(parameter.drawn.edges()[0])
        ]
        fits.append([*trial_options(settings), *lowest])
        assert processes.rehearsed(fits[-1], []).epochs > 0
    for metrics in processes.tested(fits):
        assert isinstance(metrics, list), metrics
        assert _missing(paper, metrics) is None


def test_evidence_runs_every_table_of_fits() -> None:
    made = set(re.findall(r"\$\(REPRODUCE\) (\S+)", Path("Makefile").read_text()))
    assert made == {name for name in SHIPPED if any(row.source for row in read_paper(name)[1].rows)}


def test_the_documented_table_can_be_trained(tmp_path: Path) -> None:
    text, _ = re.findall(r"```yaml\n(.*?)```", Path("docs/reproduce.md").read_text(), flags=re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    _, paper = read_paper(str(tmp_path / "mine.yaml"))
    rows: list[RowRuns] = []
    for row in paper.rows:
        tuning = next((one for one in rows if one.row.name == row.refit_of), None)
        rows.append(RowRuns(paper, row, paper.budgets["small"], tmp_path / row.slug, tuning))
    assert refusals(paper, rows) == {}


def sweep_file(paper: Paper, row: Row, folder: Path) -> Any:
    """Return the settings that a row's tuning would have, on the planted data."""
    runs = RowRuns(paper, row, next(iter(paper.budgets.values())), folder / "small" / row.slug)
    if row.chain is not None:
        run_stages(runs.stages()[:-1], runs.before())
    base, fixed = runs._begun()
    what = {"base": base, "fixed": fixed, "root": str(folder)}
    path = folder / "row.yaml"
    path.write_text(yaml.safe_dump({**paper.sweep, **what, "space": row.space or LR}))
    return read_settings(["--config", str(path)])[0]
