"""A quantizer's training step beside vector-quantize-pytorch's at equal settings: time and memory. See README.md.

    python benchmarks/quantizers.py --out quantizers.json

A step is forward, both losses, backward to vectors and codes (or the moving average), Adam on the codes; [4096, 64]
vectors, two threads. Ours and theirs take turns; peak memory is of a process each that does nothing else.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from memory import held
from timing import Row, divided, table, timed

from lightning_vq.quantizers import Cascaded, Residual
from lightning_vq.quantizers.search import nearest_code
from lightning_vq.types import Table

ROWS, DIM = 4096, 64
CASES = (  # sizes, learning, target
    ([500, 10], "gradient", 4),
    ([500, 10], "ema", 4),
    ([8000, 400, 20], "gradient", 12),
    ([8000, 400, 20], "ema", 12),
)
Step = Callable[[], object]


def ours(kind: type[Cascaded] | type[Residual], sizes: list[int], learning: str) -> Step:
    torch.manual_seed(0)
    x = torch.randn(ROWS, DIM, requires_grad=True)
    quantizer = kind(10 * max(sizes), DIM, codebook_sizes=sizes, learning=learning)  # type: ignore[arg-type]
    quantizer.start(Table(x.detach()))
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=1e-3, fused=True)
    ids = torch.arange(ROWS)

    def step() -> None:
        optimizer.zero_grad()
        got = quantizer(x, ids)
        quantizer.observe(x.detach(), ids, got.codes, None)
        (got.vectors.mean() + got.codebook.mean() + got.commitment.mean()).backward()
        optimizer.step()

    return step


def theirs(sizes: list[int], learning: str) -> Step:
    from vector_quantize_pytorch import ResidualVQ

    torch.manual_seed(0)
    x = torch.randn(ROWS, DIM, requires_grad=True)
    learned = learning == "gradient"
    quantizer = ResidualVQ(
        dim=DIM, codebook_size=tuple(sizes), decay=0.99, learnable_codebook=learned, ema_update=not learned,
        rotation_trick=False,
    ).train()  # fmt: skip
    optimizer = torch.optim.Adam(list(quantizer.parameters()) or [torch.zeros(1)], lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        fused, _, losses = quantizer(x)
        (fused.mean() + losses.sum()).backward()
        optimizer.step()

    return step


def made(who: str, sizes: list[int], learning: str) -> Step:
    if who == "theirs":
        return theirs(sizes, learning)
    return ours(Cascaded if who == "cascaded" else Residual, sizes, learning)


def peak(who: str, sizes: list[int], learning: str) -> float:
    """Return the MiB that vectors, codes, optimizer and three steps add to the peak of a process that has imported."""
    command = [sys.executable, __file__, "--out", "-", "--peak", who, "--case", json.dumps([sizes, learning])]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    if o.peak:
        if o.peak == "theirs":
            import vector_quantize_pytorch  # noqa: F401  its import is not its step

        before = held("VmHWM")
        step = made(o.peak, *o.case)
        for _ in range(3):
            step()
        print(held("VmHWM") - before)
        return
    rows: list[Row] = []
    memory: list[tuple[str, list[float]]] = []
    for sizes, learning, target in CASES:
        times: dict[str, list[float]] = {"residual": [], "cascaded": [], "theirs": []}
        steps = {who: made(who, sizes, learning) for who in times}
        for _ in range(o.repeats):
            for who, step in steps.items():
                times[who].append(1e3 * timed(step, 4 if max(sizes) > 1000 else 20))
        for who in ("residual", "cascaded"):
            figure = divided(times["theirs"], times[who])
            name = f"{who.capitalize()} {sizes}, {learning}"
            rows.append(Row(name, "ms", times[who], times["theirs"], [], figure, "x the rival", target))
        memory.append((f"{sizes}, {learning}", [peak(who, sizes, learning) for who in times]))
    x, c = torch.randn(ROWS, DIM), torch.randn(8000, DIM)
    found: list[float] = []
    floor: list[float] = []
    for _ in range(o.repeats):
        found.append(1e3 * timed(lambda: nearest_code(x, c), 10))
        floor.append(1e3 * timed(lambda: x @ c.T, 10))
    rows.append(Row("Search among 8000", "ms", found, [], floor, divided(found, floor), "x the product", 1.5))
    o.out.write_text(
        json.dumps({"threads": o.threads, "rows": [r._asdict() for r in rows], "memory": memory}, indent=1)
    )
    print(table(rows, "ResidualVQ"))
    print("\n| Peak memory of a step, MiB | Residual | Cascaded | ResidualVQ |\n|---|---|---|---|")
    for case, values in memory:
        print(f"| {case} | " + " | ".join(f"{v:,.0f}" for v in values) + " |")


if __name__ == "__main__":
    main()
