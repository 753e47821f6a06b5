"""A contest of speed as a command: its options, its rows one after the other, its table and its file."""

import argparse
import json
import logging
import platform
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from timing import Row, table


def options(about: str, epochs: int, only: str) -> argparse.Namespace:
    """Read the command line, and quiet Lightning.

    Args:
        about: of the command.
        epochs: that are timed if nothing is said.
        only: help of that option.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--recbole", help="Python of RecBole's environment; without it RecBole is left out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=epochs, help="timed in each repeat, after one that is not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help=only)
    parser.add_argument("--verbose", action="store_true", help="show RecBole's messages")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    return o


def run(parts: Iterator[Row | list[Row]], o: argparse.Namespace) -> None:
    """Measure rows, write them and print their table."""
    rows: list[Row] = []
    for made in parts:
        rows += [made] if isinstance(made, Row) else made
        print(f"done: {rows[-1].name}", file=sys.stderr, flush=True)
    about = {"torch": torch.__version__, "python": platform.python_version()}
    about |= {"threads": o.threads, "repeats": o.repeats}
    content = [r._asdict() | {"times_floor": r.times_floor(), "met": r.met()} for r in rows]
    o.out.write_text(json.dumps({"about": about, "rows": content}, indent=1))
    print(table(rows, "RecBole"))
