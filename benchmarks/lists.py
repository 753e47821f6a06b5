"""Speed of list completion beside RecBole 1.2.1, and of decoding and trees on AotM (d = 64). See README.md.

    python benchmarks/lists.py --out lists.json --recbole PYTHON_OF_RECBOLES_ENVIRONMENT

Within a repeat ours, the floor and RecBole run one after the other, so that noise hits all alike.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from contest import options, run
from ours_lists import write_latest
from rows_decoding import decoding, kept, trees
from rows_lists import evaluation, training
from speed import called
from timing import Row

SIZES = ((40, 8), (500, 10))  # of conf/cove_bert4rec.yaml, of conf/papers/cage/table1.yaml


def main() -> None:
    o = options(__doc__ or "", epochs=2, only="kinds of rows that hold this: training GRU4Rec, evaluation, trees FANS")
    kinds: list[Callable[[argparse.Namespace], Row | list[Row]]] = [
        partial(training, "SASRec", 10), partial(training, "GRU4Rec", 5), partial(training, "BERT4Rec", 5), evaluation,
        decoding, partial(kept, "SASRec"), partial(kept, "GRU4Rec"),
        *(partial(trees, model, sizes) for model in ("BERT4Rec", "FANS") for sizes in SIZES),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        o.inter = write_latest(Path(folder))
        run((kind(o) for kind in kinds if o.only in called(kind)), o)


if __name__ == "__main__":
    main()
