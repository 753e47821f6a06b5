"""A comparison of runs for readers: tables of the terminal, Markdown, CSV, and a sentence for each run."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from lightning_vq.comparison import ALPHA, FEWEST, RESAMPLES, Comparison
from lightning_vq.groups import DEFINITION
from lightning_vq.runs import replacing
from lightning_vq.terminal import console

LISTS = "Of lists: what items of a group add to a list's metric, over the lists that hold one."
HEAD = ["A", "B", "difference [95 %]", "%", "p", "p Holm", ""]


def cells(row: Comparison) -> list[str]:
    """Return a row's numbers as text, under HEAD."""
    interval = "" if math.isnan(row.low) else f" [{row.low:+.4f}, {row.high:+.4f}]"
    percent = "" if math.isnan(row.percent) else f"{row.percent:+.1f}"
    numbers = [f"{row.base:.4f}", f"{row.other:.4f}", f"{row.difference:+.4f}{interval}", percent]
    return [*numbers, f"{row.p:.4f}", f"{row.holm:.4f}", row.verdict]


def blocks(rows: Sequence[Comparison], metric: str) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, head and text of every table: for each run that of all users, then that by group.

    Args:
        rows: of all runs.
        metric: of the groups.
    """
    found = []
    for run in dict.fromkeys(row.run for row in rows):
        ours = [row for row in rows if row.run == run]
        pair = f"A = {ours[0].against}, B = {run}"
        whole = [[row.metric, *cells(row)] for row in ours if row.of == "all"]
        parts = [[f"{row.group} {row.of}", f"{row.n:,}", *cells(row)] for row in ours if row.of != "all"]
        found.append((pair, ["metric", *HEAD], whole))
        if parts:
            found.append((f"{pair}: {metric} by group", ["group", "n", *HEAD], parts))
    return found


def notes(rows: Sequence[Comparison]) -> list[str]:
    """Return what a reader of the tables must know."""
    unit = "lists" if rows[0].metric.endswith("/list") else "users"
    not_covered = (
        f"One seed each: {unit} are the unit, so that nothing here tells what other seeds would give. For that, train "
        "several and compare their means."
    )
    counts = {row.metric: row.n for row in rows if row.of == "all"}
    most = max(counts.values(), default=rows[0].n)
    fewer = [f"{name}: {n:,}" for name, n in counts.items() if n < most]
    but = f" ({', '.join(fewer)})" if fewer else ""
    main, groups = (sum((row.of == "all") is whole for row in rows) for whole in (True, False))
    kinds = {"users": "users", "items": "the items held out (n cases)"}
    held = ", and of ".join(told for kind, told in kinds.items() if any(row.of == kind for row in rows))
    said = [
        f"Means over {most:,} test {unit}{but}; difference B - A with its bootstrap interval (none under {FEWEST} "
        f"{unit}); p: sign-flip test, {RESAMPLES:,} flips, least p {1 / (1 + RESAMPLES):.4f}; p Holm: corrected "
        f"for {main} comparisons of metrics, {groups} of groups; better, worse: p Holm < {ALPHA}.",
        f"Groups are of {held}, as A's training counted them. {DEFINITION[0].upper()}{DEFINITION[1:]}.",
        *([LISTS] if any(row.of == "items" and row.metric.endswith("/list") for row in rows) else []),
        not_covered,
    ]
    return said if groups else [said[0], not_covered]


def conclusions(rows: Sequence[Comparison]) -> list[str]:
    """Return what can be concluded, a sentence for each run.

    >>> row = Comparison("b", "a", "all", "", "hr@5/full", 9, 0.1, 0.2, 0.1, 0.0, 0.2, 0.001, 0.002)
    >>> conclusions([row, row._replace(metric="ndcg@5/full", holm=0.2)])
    ['b is better than a on 1 of 2 metrics after correction, worse on none.']
    >>> conclusions([row._replace(holm=0.2)])
    ['b and a: no difference survives the correction.']
    """
    said = []
    for run in dict.fromkeys(row.run for row in rows):
        ours = [row for row in rows if row.run == run]
        against, whole = ours[0].against, [row for row in ours if row.of == "all"]
        better, worse = (sum(row.verdict == word for row in whole) for word in ("better", "worse"))
        if better or worse:
            words = [("better than", better), ("worse than", worse)]
            (first, n), (second, m) = words if better else words[::-1]
            rest = f"{second.removesuffix(' than')} on {m or 'none'}"
            sentence = f"{run} is {first} {against} on {n} of {len(whole)} metrics after correction, {rest}"
        else:
            sentence = f"{run} and {against}: no difference survives the correction"
            sentence += " of the means over all" if any(row.verdict for row in ours) else ""
        for word in ("better", "worse"):
            groups = [row for row in ours if row.of != "all" and row.verdict == word]
            if groups:
                listed = ", ".join(f"{row.group} {row.of}" for row in groups)
                sentence += f"; {run} is {word} on {groups[0].metric} for {listed}"
        said.append(f"{sentence}.")
    return said


def show(rows: Sequence[Comparison], metric: str) -> None:
    """Print tables, notes and conclusions."""
    wide = console(110)
    for title, head, lines in blocks(rows, metric):
        table = Table(title=escape(title), title_justify="left")
        for i, name in enumerate(head):
            table.add_column(name, justify="left" if i in (0, len(head) - 1) else "right")
        for line in lines:
            table.add_row(*map(escape, line))
        wide.print(table)
    for note in notes(rows):
        wide.print(note, style="italic", highlight=False)
    for sentence in conclusions(rows):
        wide.print(escape(sentence), style="bold", highlight=False)


def write_markdown(path: Path, rows: Sequence[Comparison], metric: str) -> None:
    """Write what `show` prints as Markdown, with the figure that lies beside it."""
    text = ["# Comparison of runs", "", *(f"- {sentence}" for sentence in conclusions(rows)), ""]
    for title, head, lines in blocks(rows, metric):
        text += [f"## {title}", "", f"| {' | '.join(head)} |", f"|---{'|---:' * (len(head) - 2)}|---|"]
        text += [*(f"| {' | '.join(line)} |" for line in lines), ""]
    text += ["![Differences with 95 % intervals](comparison.png)", "", *(f"{note}\n" for note in notes(rows))]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(text).rstrip() + "\n")


def write_csv(path: Path, rows: Sequence[Comparison]) -> None:
    """Write every row with all digits; what is not a number is left empty."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*Comparison._fields, "percent"])
        for row in rows:
            writer.writerow(["" if value != value else value for value in (*row, row.percent)])
