"""What can be said against a table before anything trains: of each row's files, its config, its space, the columns."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from lightning_vq.errors import UserError
from lightning_vq.reproduce.fits import RowFits
from lightning_vq.reproduce.paper import Paper
from lightning_vq.runs import read_yaml
from lightning_vq.sweep.command import checked_space, trial_options
from lightning_vq.sweep.processes import tested
from lightning_vq.sweep.settings import read_settings


def refusals(paper: Paper, chosen: Sequence[RowFits]) -> dict[str, str]:
    """Return why rows cannot run, by their names. What only their data can tell is told at a row's turn.

    Args:
        paper: the table.
        chosen: rows of it; one that refits another needs that one.
    """
    needed = {runs.row.name: runs.tuning or runs for runs in chosen}
    why: dict[str, str] = {}
    fits: dict[str, list[list[str]]] = {}
    for own in {id(own): own for own in needed.values() if own.row.base or own.row.chain}.values():
        try:
            edges = _edges(own)
        except UserError as error:
            why[own.row.name] = str(error)
            continue
        if own.row.at_hand(paper.root(own.row)) is None:  # else to ask for its metrics might fetch the data
            fits[own.row.name] = edges
    answers = iter(tested([fit for edges in fits.values() for fit in edges]))
    for name, edges in fits.items():
        found = [next(answers) for _ in edges]
        wrong = [one for one in found if isinstance(one, str)]
        told = wrong[0] if wrong else _missing(paper, found[0])
        if told is not None:
            why[name] = told
    return {name: why[own.row.name] for name, own in needed.items() if own.row.name in why}


def _edges(runs: RowFits) -> list[list[str]]:
    """Return the options of a row's fits at both ends of its space.

    Raises:
        UserError: a file that is not there, or settings that no sweep may have.
    """
    for file in runs.row.base:
        read_yaml(Path(file))
    runs.check_settings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "row.yaml"
        path.write_text(yaml.safe_dump({**runs.first(), "name": "row"}, sort_keys=False))
        settings, _, _ = read_settings(["--config", str(path)])
    space = checked_space(settings)
    ends = [[text for one in space for text in one.options(one.drawn.edges()[at])] for at in (0, -1)]
    return [[*trial_options(settings), *end] for end in ends]


def _missing(paper: Paper, names: Sequence[str]) -> str | None:
    """Return which columns no run will have and what gives it to them, or None."""
    for column, name in paper.columns.items():
        if name.startswith("test/") and name not in names:
            metric, _, rest = name.removeprefix("test/").partition("@")
            k, _, protocol = rest.partition("/")
            parts = {"model.init_args.ks": f"@{k}/", "data.init_args.eval_protocols or eval_negatives": f"/{protocol}"}
            if metric not in ("coverage", "popularity"):  # which every full ranking has
                parts["model.init_args.metrics"] = f"/{metric}@"
            keys = [key for key, part in parts.items() if not any(part in there for there in names)]
            return f"column {column!r}: its runs will have no {name!r}; give {', '.join(keys or parts)} in its fixed"
    return None
