"""Lookup from an artifact of ten million rows beside the float32 table: rows/s, memory, start-up. See README.md.

    python benchmarks/serving.py --folder FOLDER [--rows 10000000] [--out serving.json]

The table has MGQE's codes as in its paper: 64 numbers, 64 subspaces, 256 centroids for a tenth of the rows and 64 for
the others, drawn at random. Each side is measured in a process of its own that imports numpy and no torch. With
--products it tells instead from how many queries on decoding is faster than tables of products.
"""

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

DIM, HEAD, TAIL, LOOKED, BATCH = 64, 256, 64, 1_000_000, 1000
SIDE = """
import json, sys, time
began = time.perf_counter()
import numpy as np
kind, folder, looked, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if kind.startswith("artifact"):
    from lightning_vq.serving import load
    imported = time.perf_counter()
    artifact = load(folder + "/artifact", check="crc32")
    rows = len(artifact.ids["item"])
    take = artifact.tables["item"].take if kind == "artifact rows" else (lambda ids: artifact.embed("item", ids))
else:
    imported = time.perf_counter()
    table = np.load(folder + "/table.npy", mmap_mode=None if kind == "float32 in memory" else "r")
    rows, take = len(table), lambda rows: np.asarray(table[rows])
started = time.perf_counter()
draw = np.random.default_rng(0)
wanted = draw.integers(0, rows, (looked // batch, batch))
take(wanted[0])
times = []
for part in wanted:
    start = time.perf_counter()
    take(part)
    times.append(time.perf_counter() - start)
told = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "import": imported - began, "load": started - imported, "rows/s": looked / sum(times),
    "MiB": {key: int(told[key].split()[0]) // 1024 for key in ("RssAnon", "RssFile")},
}))
"""
SIDES = ("artifact rows", "artifact ids", "float32 in memory", "float32 mapped")


def write(folder: Path, rows: int) -> None:
    """Write the artifact and the float32 table of the same vectors."""
    import pyarrow as pa

    from lightning_vq.export.tables import _product
    from lightning_vq.export.writer import write_files
    from lightning_vq.quantizers import MGQE
    from lightning_vq.serving import load

    quantizer = MGQE(rows, DIM, centroids=(HEAD, TAIL), subspaces=(DIM, DIM))
    quantizer.codebooks[0].weight.data.normal_()  # type: ignore[operator]
    draw, head = np.random.default_rng(0), quantizer.sizes()[0]
    codes = draw.integers(0, TAIL, (rows, DIM), dtype=np.uint8)
    codes[:head] = draw.integers(0, HEAD, (head, DIM), dtype=np.uint8)
    made = _product("item", quantizer, codes)
    made.told.update(vocab="item", dim=DIM, rows=rows)
    (folder / "artifact").mkdir(parents=True)
    about: dict[str, Any] = {"model": {}, "quantizers": {}, "run": {}, "scores": None, "history": None}
    write_files(folder / "artifact", {"item": made}, {}, {}, {"item": pa.array(np.arange(rows))}, about)
    vectors = load(folder / "artifact").tables["item"]
    table = np.lib.format.open_memmap(folder / "table.npy", "w+", np.float32, (rows, DIM))
    for first in range(0, rows, 1 << 18):
        table[first : first + (1 << 18)] = vectors.take(slice(first, min(first + (1 << 18), rows)))
    table.flush()


def products() -> None:
    """Print the time of products with 100,000 rows by tables and by decoding, for several numbers of queries."""
    from lightning_vq.serving.packing import pack
    from lightning_vq.serving.vectors import Codes, Tier, Vectors, _table_products

    draw, rows = np.random.default_rng(0), 100_000
    print("| subspaces | bits | queries | tables, ms | decoding, ms | decoding / tables |\n|---|---|---|---|---|---|")
    for subspaces in (64, 32, 16, 8):
        for bits in (8, 6):
            book = draw.standard_normal((subspaces, 1 << bits, DIM // subspaces)).astype(np.float32)
            codes = pack(draw.integers(0, 1 << bits, (rows, subspaces)), bits)
            vectors = Codes([Tier(0, rows, bits, codes, book)])
            for queries in (1, 2, 4, 8, 16):
                given, part = draw.standard_normal((queries, DIM)).astype(np.float32), slice(0, rows)
                ours = _median(partial(_table_products, given, vectors.tiers[0], part))
                theirs = _median(partial(Vectors.products, vectors, given, part))
                print(f"| {subspaces} | {bits} | {queries} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.2f} x |")


def _median(work: Any) -> float:
    times = []
    for _ in range(6):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the artifact and the table are written, 3.2 GB; kept")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--products", action="store_true")
    o = parser.parse_args()
    if o.products:
        products()
        return
    if o.folder is None:
        parser.error("--folder is needed")
    if not (o.folder / "table.npy").is_file():
        write(o.folder, o.rows)
    disk = {"artifact": sum(path.stat().st_size for path in (o.folder / "artifact").iterdir())}
    disk["float32"] = (o.folder / "table.npy").stat().st_size
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(o.repeats):
        for side in SIDES:
            command = [sys.executable, "-c", SIDE, side, str(o.folder), str(LOOKED), str(BATCH)]
            found[side].append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    heads = ("lookup of", "files, MB", "import, s", "load, s", "rows/s", "memory: own, MiB", "memory: mapped file, MiB")
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for side, runs in found.items():
        cells = [side, f"{disk[side.split()[0]] / 1e6:,.0f}"]
        cells += [f"{median(one[key] for one in runs):.2f}" for key in ("import", "load")]
        cells += [f"{median(one['rows/s'] for one in runs):,.0f}"]
        cells += [f"{median(one['MiB'][key] for one in runs):,.0f}" for key in ("RssAnon", "RssFile")]
        print("| " + " | ".join(cells) + " |")
    if o.out is not None:
        o.out.write_text(json.dumps({"rows": o.rows, "bytes": disk, "sides": found}, indent=1))


if __name__ == "__main__":
    main()
