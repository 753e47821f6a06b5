"""What the models of a paper's table take on disk as `export` writes them, beside the formula. See README.md.

    python benchmarks/artifact_sizes.py mgqe/table3 --out sizes.json

Each row is trained for one epoch, as sizes depend on data, model and quantizers alone, and exported.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from lightning_vq.export.sizes import Sizes, sizes
from lightning_vq.reproduce.paper import Paper, Row, read_paper
from lightning_vq.serving import load
from lightning_vq.sweep.space import option


def exported(paper: Paper, row: Row, folder: Path) -> Sizes:
    """Train a row for an epoch, export it, and return its sizes."""
    settings = {**paper.sweep.get("fixed", {}), **row.fixed, "trainer.max_epochs": 1, "baseline": False}
    settings |= {
        "monitor": next(iter(paper.sweep["objectives"])),
        "trainer.enable_progress_bar": False,
        "trainer.default_root_dir": str(folder),
        "trainer.devices": 1,
    }
    bases = [word for base in row.base for word in ("--config", base)]
    options = [option(key, value) for key, value in settings.items()]
    for verb in (
        ["fit", *bases, f"--data.init_args.source={row.source}", *options],
        ["export", "--run", str(folder / "runs" / Path(row.base[-1]).stem / "1"), "--out", str(folder / "artifact")],
    ):
        done = subprocess.run([sys.executable, "-m", "lightning_vq", *verb], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{row.name}: {done.stdout}{done.stderr}")
    return sizes(load(folder / "artifact"))


def measured(found: Sizes) -> dict[str, float]:
    """Return the bytes of an artifact by what they are of."""
    formula = sum(part.bits or 0 for part in found.parts) / 8
    by_name = {line.name: line.bytes for line in found.beside}
    return {
        "formula": formula,
        "parts": found.served,
        "graph": by_name["graph of the network"],
        "headers": by_name["headers of files"],
        "manifest": by_name["manifest"],
        "ids": by_name["ids"],
        "history": by_name["history"],
        "files": found.whole,
        "float32": found.full,
    }


def lines(rows: list[Row], found: dict[str, dict[str, float]]) -> str:
    """Return Markdown; shares are of the row that a row is said to be better than."""
    heads = ["row", "formula", "on disk", "of full", "graph of the network", "headers, manifest", "ids", "history"]
    made = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in rows:
        own, full = found[row.name], found[row.over or row.name]
        more = [own["graph"], own["headers"] + own["manifest"], own["ids"], own["history"]]
        cells = [f"{own['formula']:,.0f}", f"{own['parts']:,}", f"{100 * own['parts'] / full['parts']:.1f} %"]
        made.append("| " + " | ".join([row.name, *cells, *(f"{one:,}" for one in more)]) + " |")
    return "\n".join(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="such as mgqe/table3")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    _, paper = read_paper(options.table)
    found: dict[str, dict[str, float]] = {}
    for row in paper.rows:
        with tempfile.TemporaryDirectory() as folder:
            found[row.name] = measured(exported(paper, row, Path(folder)))
        print(f"{row.name}: {found[row.name]}", flush=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(lines(paper.rows, found))


if __name__ == "__main__":
    main()
