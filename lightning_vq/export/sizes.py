"""What an artifact takes on disk, part by part, beside the formula and the full model. Shapes: N entities, D dim."""

from typing import NamedTuple

from lightning_vq.export.queries import MADE
from lightning_vq.serving import Artifact
from lightning_vq.serving.files import MANIFEST


class Line(NamedTuple):
    """A line of the table of sizes."""

    table: str
    name: str
    bits: int | None  # by the formula; None for what it does not count
    bytes: int  # on disk, without the headers of files
    entities: int | None = None  # whose rows these are


class Sizes(NamedTuple):
    """All lines; their bytes are those of the folder."""

    parts: list[Line]  # what it takes to serve
    beside: list[Line]  # ids, history, graph of a network, headers of files, manifest
    full: int  # bytes of the model as float32

    @property
    def served(self) -> int:
        """Return the bytes of all parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def whole(self) -> int:
        """Return the bytes of the folder."""
        return self.served + sum(part.bytes for part in self.beside)


def sizes(artifact: Artifact) -> Sizes:
    """Return what an artifact's folder holds."""
    manifest, folder = artifact.manifest, artifact.folder
    told = [(table, part) for table, some in manifest["parts"].items() for part in some]
    parts = [Line(table, part["name"], part["bits"], part["bytes"], part["entities"]) for table, part in told]
    graph = sum(part["graph"] for table, part in told if table == "network")
    on_disk = {path.name: path.stat().st_size for path in folder.iterdir()}
    ours = {part["key"] for _, part in told}
    ids = sum(on_disk[one[key]] for one in manifest["vocabularies"].values() for key in ("ids", "order"))
    history = sum(on_disk[name] for name in (manifest["history"] or {}).values())
    of_parts = sum(size for name, size in on_disk.items() if name in ours or name.endswith(".safetensors"))
    beside = [
        Line("", "ids", None, ids),
        Line("", "history", None, history),
        Line("", "graph of the network", None, graph),
        Line("", "headers of files", None, of_parts - graph - sum(part.bytes for part in parts)),
        Line("", "manifest", None, on_disk[MANIFEST]),
    ]
    own = [one for name, one in manifest["tables"].items() if name != MADE]
    full = sum(4 * one["rows"] * one["dim"] for one in own)
    weights = sum(part.bits or 0 for part in parts if part.table in ("scores", "network")) // 8
    return Sizes(parts, beside, full + weights)
