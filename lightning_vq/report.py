"""The table at the end of a run: the plain base model beside the quantized one."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from rich.table import Table

from lightning_vq.runs import read_json
from lightning_vq.terminal import console

Row = tuple[str, str, str, str]
MOST_LEVELS = 4  # of a quantizer, that have a row each


def paired_difference(ours: np.ndarray, base: np.ndarray) -> tuple[float, float]:
    """Return mean and half width of the 95 % interval (normal) of per-case differences (U,), NaN left out.

    >>> paired_difference(np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    (0.25, 0.49)
    """
    gap = ours.astype(float) - base
    gap = gap[~np.isnan(gap)]
    return float(gap.mean()), round(1.96 * float(gap.std(ddof=1)) / math.sqrt(len(gap)), 12)


def metric_rows(folder: Path, base: Path | None) -> list[Row]:
    """Return (metric, base, quantized, difference) for every test metric."""
    ours, theirs = read_json(folder / "metrics.json"), read_json(base / "metrics.json") if base else None
    users, base_users = (
        pyarrow.parquet.read_table(run / "test_users.parquet") if base and run else None for run in (folder, base)
    )
    rows: list[Row] = []
    for name, value in ours["test"].items():
        column = name.removeprefix("test/")
        if column.startswith("n@"):  # how many lists a metric is of
            rows.append((name, f"{theirs['test'][name]:,.0f}" if theirs else "", f"{value:,.0f}", ""))
            continue
        gap, left = "", ""
        if theirs is not None and users is not None and base_users is not None:
            left, gap = f"{theirs['test'][name]:.4f}", f"{value - theirs['test'][name]:+.4f}"
            if column in users.column_names:  # else it is one number of all lists together
                mean, half = paired_difference(users[column].to_numpy(), base_users[column].to_numpy())
                gap = f"{mean:+.4f} ± {half:.4f}"
        rows.append((name, left, f"{value:.4f}", gap))
    return rows


def training_rows(ours: dict[str, Any], theirs: dict[str, Any] | None) -> list[Row]:
    """Return rows on the training itself, the codes in use and the planted truth."""

    def epochs(told: dict[str, Any]) -> str:
        most = told.get("max_epochs") or -1  # none or -1: no limit
        early = f" of {most}" if told["epochs"] < most else ""  # patience ended it, or a limit on steps or time
        return f"{told['epochs']}{early} ({int(told['best'].get('epoch', -1)) + 1})"

    def row(label: str, show: Any) -> Row:
        return (label, show(theirs) if theirs else "", show(ours), "")

    rows = [
        row("epochs (best)", epochs),
        row("training samples/s", lambda m: f"{m['samples_per_second']:,.0f}"),
        row("seconds, all in", lambda m: f"{m['seconds']:.1f}"),
    ]
    for protocol, values in ours.get("random", {}).items():
        for name, value in values.items():
            if name == "candidates":
                rows.append((f"candidates, {protocol}", "", f"{value:,.0f}", ""))
            elif name.startswith("ndcg@"):
                rows.append((f"a random scorer's {name}/{protocol}", "", f"{value:.4f}", ""))
    for vocab, told in ours.get("semantic_ids", {}).items():
        rows.append((f"semantic ids: {vocab}s that share theirs", "", f"{told['collisions']:.1%}", ""))
        entropy = " ".join(f"{bits:.2f}/{most:.2f}" for bits, most in zip(told["entropy"], told["most"]))
        rows.append((f"semantic ids: bits of {vocab}s, of the most", "", entropy, ""))
        if told.get("different", 0) < told.get("entities", 0):  # no code can tell equal vectors apart
            rows.append((f"different vectors of {vocab}s", "", f"{told['different']:,} of {told['entities']:,}", ""))
        if "spread" in told:  # a DQVAE's
            rows.append((f"variance of {vocab}s' groups, (max - min) / mean", "", f"{told['spread']:.2f}", ""))
    for table, used in ours["codes"].items():
        if len(used) > MOST_LEVELS:
            n, size = (sum(column) for column in zip(*used))
            worst = min(range(len(used)), key=lambda i: used[i][0] / used[i][1])
            least = f"least {used[worst][0]} of {used[worst][1]}"
            rows.append((f"codes used: {table}, {len(used)} levels", "", f"{n} of {size}, {least}", ""))
            continue
        for level, (n, size) in enumerate(used, start=1):
            rows.append((f"codes used: {table} level {level}", "", f"{n} of {size}", ""))
    for table, (full, stored) in ours["storage"].items():
        base = f"{full / 8192:,.0f} KiB" if theirs else ""
        rows.append((f"stored: {table} vectors", base, f"{stored / 8192:,.0f} KiB ({stored / full:.1%})", ""))
    for table, scores in ours["recovery"].items():
        for pair, score in scores.items():
            learned, known = pair.split("/")
            rows.append((f"match with planted: {table} {learned}, {known} (AMI)", "", f"{score:.3f}", ""))
    return rows


def show(folder: Path, base: Path | None, title: str) -> None:
    """Print the table of a run folder, beside that of its base model if there is one."""
    ours, theirs = read_json(folder / "metrics.json"), read_json(base / "metrics.json") if base else None
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("")
    quantized = bool(ours["codes"] or ours["storage"])
    if theirs is not None:
        table.add_column("base", justify="right")
    table.add_column("quantized" if quantized else "this run", justify="right")
    if theirs is not None:
        table.add_column("difference", justify="right")
    for section in (metric_rows(folder, base), training_rows(ours, theirs)):
        for label, left, value, gap in section:
            table.add_row(label, left, value, gap) if theirs is not None else table.add_row(label, value)
        table.add_section()
    if theirs is not None:
        users = _users(folder)  # none where no rows are ranked together
        of = f"{users:,} test users"
        if any(name.endswith("/list") for name in ours["test"]):
            of = "the test lists that have so many items to come (n@k)"
        if "test/rmse" in ours["test"]:
            of = f"{users:,} items that are asked about in test pairs"
        mean = f"Difference: mean over {of}, 95 % interval. " if users else ""
        table.caption = f"{mean}One seed each."
    console(110).print(table)


def _users(folder: Path) -> int:
    return int(pyarrow.parquet.read_metadata(folder / "test_users.parquet").num_rows)
