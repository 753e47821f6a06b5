"""RecBole's side of a contest: its atomic files of our data, and its times from its own environment."""

import argparse
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from ours import SOURCE
from torch import Tensor

from lightning_vq.data import CollaborativeData

NAME = "observed"  # not ml-100k: RecBole reads a copy of its own under that name, whatever the data_path
Found = Mapping[str, Any]  # what rival_scores.py wrote
SCRIPT = Path(__file__).with_name("rival_recbole.py")


def write_data(folder: Path) -> Path:
    """Write the interactions and the knowledge graph of ml-100k and return the path of the first."""
    data = CollaborativeData(source=SOURCE)
    data.prepare_data()
    data.setup("fit")
    path = folder / NAME / f"{NAME}.inter"
    path.parent.mkdir()
    write_interactions(data, path)
    write_graph(data, path)
    return path


def write_interactions(data: CollaborativeData, path: Path) -> None:
    """Write user, item and time; the time is their rank, so that ties go our way."""
    raw = data.raw
    assert raw is not None
    assert raw.order is not None
    order = np.lexsort((np.arange(len(raw.users)), raw.order))
    users, items = (ids.take(pa.array(of[order])) for ids, of in ((raw.user_ids, raw.users), (raw.item_ids, raw.items)))
    rows = zip(users.to_pylist(), items.to_pylist())
    lines = [f"{user}\t{item}\t{time}\n" for time, (user, item) in enumerate(rows)]
    path.write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines))


def write_graph(data: CollaborativeData, path: Path) -> None:
    """Write what the graph holds beside interactions, (item, category), and which entity is which item.

    Entities are called by our joint numbering, "e1234". RecBole drops the interactions of items that the graph does not
    name: in ml-100k every film has a genre.
    """
    assert data.raw is not None
    graph = data.graph()
    beside = graph.relations > 0  # 0 is that of the interactions, which RecBole adds itself
    of_graph = zip(*(column[beside].tolist() for column in (graph.heads, graph.relations, graph.tails)))
    triples = [f"e{head}\t{graph.names[relation]}\te{tail}\n" for head, relation, tail in of_graph]
    path.with_suffix(".kg").write_text("head_id:token\trelation_id:token\ttail_id:token\n" + "".join(triples))
    links = [f"{item}\te{data.user_count + row}\n" for row, item in enumerate(data.raw.item_ids.to_pylist())]
    path.with_suffix(".link").write_text("item_id:token\tentity_id:token\n" + "".join(links))


def recbole(o: argparse.Namespace, model: str, batch: int, epochs: int, **more: int | str) -> dict[str, Any]:
    """Return what rival_recbole.py wrote, given more of its options."""
    out = o.inter.parent / "times.json"
    told: dict[str, int | str] = {"batch": batch, "epochs": epochs, "threads": o.threads} | more
    command = [o.recbole, str(SCRIPT), f"--inter={o.inter}", f"--model={model}"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in told.items()] + [f"--out={out}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=None if o.verbose else subprocess.DEVNULL)
    return json.loads(out.read_text())


def places(names: list[str], known: Any) -> Tensor:
    """Return RecBole's id of each of our names, given its names by id."""
    place = {name: i for i, name in enumerate(known.tolist())}
    return torch.tensor([place[name] for name in names])


def weights_of(found: Found) -> dict[str, Tensor]:
    """Return RecBole's weights as it calls them."""
    return {k.removeprefix("weights/"): torch.from_numpy(found[k]) for k in found if k.startswith("weights/")}
