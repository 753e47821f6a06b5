"""`python -m lightning_vq export --run DIR --out DIR`: a run's best model as files that are served without torch."""

import os
import shlex
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from rich.table import Table

from lightning_vq.backbones.lists import ListBackbone
from lightning_vq.backbones.towers import TwoTowers
from lightning_vq.data.relevance import SCORE
from lightning_vq.errors import UserError
from lightning_vq.export.sizes import Line, Sizes, sizes
from lightning_vq.export.tables import order_of
from lightning_vq.export.writer import write_artifact
from lightning_vq.messages import quieten
from lightning_vq.modules.base import Recommender
from lightning_vq.modules.checkpoint import checked_checkpoint
from lightning_vq.modules.decoding import next_hidden
from lightning_vq.modules.served import Products, left, products
from lightning_vq.parser import Parser
from lightning_vq.runs import checked_run, read_json, read_yaml
from lightning_vq.serving import Artifact, load
from lightning_vq.serving.scoring import Continued, Pairwise
from lightning_vq.sources.interactions import Array
from lightning_vq.terminal import console
from lightning_vq.types import Pairs
from lightning_vq.vocabulary import has_vocabulary, read_vocabulary

BLOCK = 1 << 16  # rows that are held against the model's at a time
CLOSE = 1e-5  # share of the largest number by which they may differ
NETWORK_CLOSE = 1e-4  # the same of what a network makes: another program adds in another order


def main(arguments: list[str]) -> None:
    """Run the verb.

    Raises:
        UserError: a wrong argument, a folder that is no whole run, a place where something is.
    """
    about = "Write a run's best model as an artifact that lightning_vq.serving reads with numpy alone."
    parser = Parser(prog="python -m lightning_vq export", description=about, allow_abbrev=False)
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", help="a run folder")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where to write; it must not be there yet"
    )
    parser.add_argument("--no-history", action="store_true", help="leave out what users had in training")
    options = parser.parse_args(arguments)
    quieten()
    if options.out.exists():
        raise UserError(f"{options.out} is there already: choose another --out, or remove it")
    _, weights = checked_run(options.run, "best.ckpt")
    module = Recommender.load_from_checkpoint(checked_checkpoint(weights))
    towers = isinstance(module.backbone, TwoTowers)  # whose vectors are those after training, and its test's earlier
    ids, after = left(options.run) if towers else (ids_of(options.run, module), None)
    summary = read_json(options.run / "metrics.json") if (options.run / "metrics.json").is_file() else {}
    if towers and summary.get("state") != "finished":
        raise UserError(f"{options.run} has not finished: two towers are exported by the vectors that its end leaves")
    if summary.get("state") != "finished":
        print(f"{options.run} has not finished: its best epoch so far is exported, untested")
    kept = ["monitor", "seed"] if towers else ["monitor", "seed", "test"]
    source = read_yaml(options.run / "config.yaml")["data"]["init_args"].get("source")
    told = {"source": source} | {key: summary[key] for key in kept if key in summary}
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(dir=options.out.parent, prefix=f".{options.out.name}-")
    except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{options.out} cannot be written: {error.strerror}") from None
    with place as folder:
        made = Path(folder) / "artifact"
        made.mkdir()
        write_artifact(made, module, ids, told, after or products(module), not options.no_history)
        artifact = load(made)
        check(artifact, module, ids, after or products(module))
        show(sizes(artifact))
        try:
            os.rename(made, options.out)  # mapped files stay mapped
        except OSError as error:
            if not options.out.exists():
                raise
            raise UserError(f"{options.out} has been made meanwhile; nothing was written ({error.strerror})") from None
    if towers:
        print("Users and items stand as they were after training; whom they meet later does not change them.")
    if module.quantizers and all(table["kind"] == "full" for table in artifact.manifest["tables"].values()):
        print(
            f"{type(module.backbone).__name__} under these quantizers is served by whole vectors: nothing is smaller."
        )
    print(f"Artifact: {options.out} (its vectors and ids are the {'run' if towers else 'model'}'s)")
    if isinstance(artifact.scoring, Continued):
        some = shlex.join(str(one) for one in ids["item"][:3].to_pylist())
        print(f"Next: python -m lightning_vq recommend {shlex.quote(str(options.out))} --items {some}")
    elif artifact.scoring is not None:
        some = shlex.join([str(options.out), "--user", str(ids["user"][0].as_py())])
        print(f"Next: python -m lightning_vq recommend {some}")
    else:
        print(f"Its vectors alone: what {type(module.backbone).__name__} makes of them is not in the artifact")


def ids_of(run: Path, module: Recommender) -> dict[str, pa.Array]:
    """Return the original ids (N,) of a model's vocabularies, as its run has them.

    Raises:
        UserError: it has none of users or items.
    """
    ids = {v: read_vocabulary(run, v).ids for v in module.vocabularies() if has_vocabulary(run, v)}
    missing = {"user", "item"} & set(module.vocabularies()) - set(ids)
    if missing or not ids:
        raise UserError(f"{run} is not a whole run folder: it has no vocab/{min(missing, default='item')}.parquet")
    return ids


@torch.no_grad()
def check(artifact: Artifact, module: Recommender, ids: dict[str, pa.Array], scored: Products | None) -> None:
    """Hold an artifact's vectors, its ids, and what its network makes of some, against the model's.

    Args:
        artifact: just written.
        module: in evaluation mode.
        ids: (N,) original ids of each vocabulary.
        scored: vectors by which the model scores, if it does.

    Raises:
        UserError: they differ; nothing is left behind then.
    """
    look, made = module.lookup(), {} if scored is None else scored.made
    for name in artifact.tables.keys() & {*module.specs, *made}:
        order, scale, gap = order_of(module, artifact.manifest["tables"][name]["vocab"]), 0.0, 0.0
        for first in range(0, len(order), BLOCK):
            rows = np.arange(first, min(first + BLOCK, len(order)))
            ids_of_block = torch.from_numpy(order[rows]).to(module.device)
            vectors = made[name][ids_of_block] if name in made else look(name, ids_of_block)
            expected = vectors.float().cpu().numpy()
            scale = max(scale, float(np.abs(expected).max()))
            gap = max(gap, float(np.abs(artifact.tables[name].take(rows) - expected).max()))
        if not gap <= CLOSE * max(scale, 1e-30):
            raise UserError(f"table {name!r}: the artifact's vectors differ from the model's by {gap:.2g}; not written")
    for vocab, one in ids.items():
        rows = artifact.rows(vocab, one.take(pa.array(order_of(module, vocab))).to_pylist(), "fallback")
        if (rows != np.arange(len(one))).any():
            raise UserError(f"ids of {vocab} would not be found again; not written")
    if isinstance(artifact.scoring, Continued | Pairwise):
        found, expected = _network_outputs(artifact, module)
        gap, scale = np.abs(found - expected).max(), np.abs(expected).max()
        if not gap <= NETWORK_CLOSE * max(scale, 1e-30):
            raise UserError(f"the written network's output differs from the model's by {gap:.2g}; not written")


def _network_outputs(artifact: Artifact, module: Recommender) -> tuple[Array, Array]:
    """Return what the artifact's network and the model make of short and long lists, or of a few users."""
    look, orders = module.lookup(), {vocab: order_of(module, vocab) for vocab in artifact.ids}
    if isinstance(artifact.scoring, Continued):
        assert isinstance(module.backbone, ListBackbone)
        found, expected = [], []
        for length in (1, 7, artifact.scoring.longest):
            rows = np.arange(length) % len(orders["item"])
            items = torch.from_numpy(orders["item"][rows]).to(module.device)
            found.append(artifact.after(rows))
            expected.append(next_hidden(module.backbone, look, items[None]).cpu().numpy())
        return np.concatenate(found), np.concatenate(expected)
    rows = np.arange(min(3, len(orders["user"])))
    users = torch.from_numpy(orders["user"][rows]).to(module.device)
    mean, deviation = module.facts.moments.get(SCORE, (0.0, 1.0))  # type: ignore[union-attr]
    scores = mean + deviation * module.backbone(look, Pairs(users, None)).scores
    return artifact.all_scores(rows), scores.cpu().numpy()[:, orders["item"]]


def show(found: Sizes) -> None:
    """Print the table of sizes."""
    table = Table(title="Size", title_justify="left")
    for column in ("table", "part"):
        table.add_column(column)
    for column in ("bits by formula", "bytes on disk", "bits per entity"):
        table.add_column(column, justify="right")
    for part in found.parts:
        table.add_row(*_cells(part))
    table.add_section()
    share = f"model: {100 * found.served / found.full:.1f} % of float32"
    table.add_row("", share, f"{sum(part.bits or 0 for part in found.parts):,}", f"{found.served:,}", "")
    table.add_row("", "the same as float32", f"{8 * found.full:,}", f"({found.full:,})", "")
    table.add_section()
    for part in found.beside:
        if part.bytes:
            table.add_row(*_cells(part))
    table.add_row("", "all files", "", f"{found.whole:,}", "")
    console(110).print(table)


def _cells(part: Line) -> tuple[str, ...]:
    bits = "" if part.bits is None else f"{part.bits:,}"
    each = f"{part.bits / part.entities:g}" if part.bits is not None and part.entities else ""
    return part.table, part.name, bits, f"{part.bytes:,}", each
