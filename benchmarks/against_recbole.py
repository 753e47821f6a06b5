"""Are our backbones RecBole's? The same weights and data, scores of both within 1e-5: a table, and exit 1 on a miss.

    python benchmarks/against_recbole.py --recbole PYTHON_OF_RECBOLES_ENVIRONMENT

ranking_contests.py, click_contests.py and sequence_contests.py say what is compared, and what of RecBole's is loaded
where.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click_contests
import numpy as np
import ranking_contests
import sequence_contests
from click_contests import CLICK_CONTESTS, ClickContest
from ranking_contests import CONTESTS, Contest
from rival import Found
from sequence_contests import SEQUENCE_CONTESTS, SHOWN, SequenceContest

CLOSE = 1e-5
# The data's name, contests on it, what writes it, what compares.
GROUPS: tuple[tuple[str, Sequence[Any], Callable[[Path], Any], Callable[..., Any]], ...] = (
    ("small", CONTESTS, ranking_contests.write_files, ranking_contests.compare),
    ("samples", CLICK_CONTESTS, click_contests.write_samples, click_contests.compare),
    ("histories", SEQUENCE_CONTESTS, sequence_contests.write_histories, sequence_contests.compare),
)
SCRIPT = Path(__file__).with_name("rival_scores.py")


def scores(o: argparse.Namespace, contest: Contest | ClickContest | SequenceContest, inter: Path) -> Found:
    """Return what rival_scores.py wrote."""
    out = inter.parent / "scores.npz"
    command = [o.recbole, str(SCRIPT), f"--inter={inter}", f"--model={contest.rival}"]
    command += ["--hidden", *map(str, contest.hidden), f"--shown={SHOWN}", f"--out={out}"]
    subprocess.run(command, check=True, stderr=None if o.verbose else subprocess.DEVNULL)
    with np.load(out) as found:
        return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recbole", required=True, help="Python of RecBole's environment")
    parser.add_argument("--verbose", action="store_true", help="show RecBole's messages")
    o = parser.parse_args()
    missed = []
    heads = ["Model", "Pairs or samples, largest difference", "Full ranking", "Triples", "Spread of scores", "Equal"]
    print("| " + " | ".join([*heads, "Note"]) + " |\n" + "|---" * 7 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for name, contests, write, compare in GROUPS:
            data = write(Path(folder) / name)
            for contest in contests:
                gaps, spread = compare(contest, data, scores(o, contest, Path(folder) / name / f"{name}.inter"))
                if not max(gaps) <= CLOSE:
                    missed.append(contest.name)
                cells = [f"{gap:.1e}" for gap in gaps] + ["-"] * (3 - len(gaps))
                verdict = "NO" if contest.name in missed else "yes"
                row = [contest.name, *cells, f"{spread:.2f}", verdict, contest.note]
                print("| " + " | ".join(row) + " |", flush=True)
    if missed:
        sys.exit(f"not equal to {CLOSE:g}: {', '.join(missed)}")


if __name__ == "__main__":
    main()
