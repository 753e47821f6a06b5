"""Rows a second and peak memory of preparing a table for click-through rate, beside pandas doing the same.

    python benchmarks/prepare_clicks.py --rows 10000000 --folder /tmp

Writes planted clicks as CSV and as Parquet into a temporary folder there (1 GiB for 10 million rows), reads each in a
process of its own: ours in memory, ours on disk, pandas. All end with the same: rows split 8:1:1 at random, three
vocabularies of training rows, codes, a standardised price, sequences of five items padded. Prints a Markdown table.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FIELDS = ("user", "item", "device")


def ours(path: Path, folder: Path | None) -> None:
    """Prepare a file as ClickThroughData does."""
    from lightning_vq.data.encoding import encode
    from lightning_vq.data.shares import Split
    from lightning_vq.sources.feed import feed_of
    from lightning_vq.sources.planted import PlantedOptions
    from lightning_vq.sources.planted_clicks import planted_clicks

    schema = planted_clicks(PlantedOptions(), 1)[1]
    if folder is not None:
        folder.mkdir()
    encoded = encode(feed_of(path), schema, Split("ratio", (0.8, 0.1, 0.1), 0), folder)
    assert len(encoded.samples) == 3


def pandas(path: Path) -> None:
    """Prepare a file as one would by hand."""
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    part_of = np.repeat([0, 1, 2], np.diff([0, round(0.8 * len(frame)), round(0.9 * len(frame)), len(frame)]))
    np.random.default_rng(0).shuffle(part_of)
    trained = part_of == 0
    index = {name: pd.Index(frame.loc[trained, name].unique()) for name in FIELDS}
    codes = np.stack([index[name].get_indexer(frame[name]) for name in FIELDS], 1).astype(np.int32)
    price = frame["price"]
    price = ((price - price[trained].mean()) / price[trained].std(ddof=0)).to_numpy(np.float32)
    lists = frame["recent"].str.split(" ") if path.suffix != ".parquet" else frame["recent"]
    flat = lists.explode()
    flat = flat[flat.notna() & (flat != "")]
    rows = np.full((len(frame), 5), -1, np.int32)
    rows[flat.index, flat.groupby(level=0).cumcount()] = index["item"].get_indexer(flat)
    parts = [(codes[part_of == p], price[part_of == p], rows[part_of == p]) for p in range(3)]
    assert len(parts) == 3


def measured(how: str, path: Path, folder: Path) -> dict[str, float]:
    """Return seconds and peak resident GiB of a process that prepares a file."""
    command = [sys.executable, __file__, "--how", how, "--path", str(path), "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for temporary files")
    parser.add_argument("--how", choices=["memory", "disk", "pandas"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.how is not None:
        start = time.perf_counter()
        pandas(o.path) if o.how == "pandas" else ours(o.path, o.folder / "encoded" if o.how == "disk" else None)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
        return
    from lightning_vq.sources.planted import PlantedOptions
    from lightning_vq.sources.planted_clicks import write_planted_clicks

    print("| file | how | rows/s | times pandas | peak GiB | of pandas |\n|---|---|---|---|---|---|", flush=True)
    for kind in ("csv", "parquet"):
        with tempfile.TemporaryDirectory(dir=o.folder) as folder:
            path = Path(folder) / f"clicks.{kind}"
            write_planted_clicks(path, o.rows, PlantedOptions(users=200_000, items=50_000))
            found = {how: measured(how, path, Path(folder)) for how in ("pandas", "memory", "disk")}
        for how, one in found.items():
            speed = f"{o.rows / one['seconds']:,.0f} | {found['pandas']['seconds'] / one['seconds']:.1f}"
            print(
                f"| {kind} | {how} | {speed} | {one['gib']:.2f} | {one['gib'] / found['pandas']['gib']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
