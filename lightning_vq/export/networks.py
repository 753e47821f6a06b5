"""What of a model is no inner product of rows, as ONNX: the encoder of a list, the scorer of pairs.

Tables stay outside: what is looked up comes in as vectors, so that they are served packed.
Shapes: T items of a list, M items to be scored, D dim.
"""

import importlib.util
import warnings
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.list_completion.fans import FANS
from lightning_vq.backbones.lists import Autoregressive
from lightning_vq.errors import UserError
from lightning_vq.types import Pairs

FILE = "network.onnx"
OPSET = 17  # the last that torch's tracing exporter is tested with; onnxruntime reads it since 2022


class _Given:
    """Stands for a Lookup: the vectors come in. Of a list those of its items, behind which a backbone puts tokens."""

    def __init__(self, vectors: dict[str, Tensor], tokens: Tensor | None = None) -> None:
        self.vectors, self.tokens = vectors, tokens

    def __call__(self, name: str, ids: Tensor) -> Tensor:
        return self.vectors[name]

    def padded(self, name: str, ids: Tensor) -> Tensor:
        given = self.vectors[name]
        if self.tokens is None:
            return given
        behind = ids.shape[1] - given.shape[1]
        return torch.cat([given, self.tokens[None, :1].expand(1, behind, -1)], 1)


class Network(nn.Module):
    """A part of a model whose tables are given to it.

    Args:
        backbone: that it is of.
        given: what comes in, in this order: its name, its width D, and of what there is one each, as in (1, items, D);
            None for (1, D).
    """

    output: ClassVar[tuple[str, str | None]]  # its name, and of what there is one each

    def __init__(self, backbone: Backbone, given: list[tuple[str, int, str | None]]) -> None:
        super().__init__()
        self.backbone, self.given = backbone, given


class ListEncoder(Network):
    """From the vectors (1, T, D) of a list's items to the query (1, D) for the next one.

    Args:
        backbone: that continues lists item by item.
        tokens: (S, D) its own rows of the table, or none.
    """

    output = ("query", None)

    def __init__(self, backbone: Autoregressive, tokens: Tensor | None) -> None:
        super().__init__(backbone, [("item", backbone.dim, "items")])
        self.register_buffer("tokens", None if tokens is None else tokens.detach().clone())

    def forward(self, item: Tensor) -> Tensor:
        look: Any = _Given({"item": item}, self.tokens)  # type: ignore[arg-type]
        backbone: Any = self.backbone
        query: Tensor = backbone.begin(look, item.new_zeros(item.shape[:2], dtype=torch.int64))[0]
        return query


class ListFiller(Network):
    """From the vectors (1, T, D) of a list's items, and (1, P, 1) anything, to queries (1, P, D) of P items to come.

    Args:
        backbone: that fills all places in one pass.
        tokens: (S, D) its own rows of the table, the first of which stands for an item to come.
    """

    output = ("query", "coming")

    def __init__(self, backbone: FANS, tokens: Tensor) -> None:
        super().__init__(backbone, [("item", backbone.dim, "items"), ("coming", 1, "coming")])
        self.register_buffer("tokens", tokens.detach().clone())

    def forward(self, item: Tensor, coming: Tensor) -> Tensor:
        look: Any = _Given({"item": item}, self.tokens)  # type: ignore[arg-type]
        backbone: Any = self.backbone
        known = item.new_ones(item.shape[:2]).sum(1).long()  # and no number of Python's, which a trace would keep
        places = known + torch.arange(coming.shape[1], device=item.device)
        rows = item.new_zeros((1, item.shape[1] + coming.shape[1]), dtype=torch.int64)
        queries: Tensor = backbone.encoded(look, rows, known, places)
        return queries[None]


class PairScorer(Network):
    """From a user's vectors (1, D) and items' (1, M, D), table by table, to scores (1, M).

    Args:
        backbone, given: see Network.
        mean, deviation: of the scores, where a model has learned standardised ones; else 0 and 1.
    """

    output = ("scores", "items")

    def __init__(
        self, backbone: Backbone, given: list[tuple[str, int, str | None]], mean: float, deviation: float
    ) -> None:
        super().__init__(backbone, given)
        self.mean, self.deviation = mean, deviation

    def forward(self, *vectors: Tensor) -> Tensor:
        look: Any = _Given({name: one for (name, _, _), one in zip(self.given, vectors)})
        items = next(one for (_, _, axis), one in zip(self.given, vectors) if axis is not None)
        users = items.new_zeros(1, dtype=torch.int64)
        scores: Tensor = self.backbone(look, Pairs(users, items.new_zeros(items.shape[:2], dtype=torch.int64))).scores
        return self.mean + self.deviation * scores


def write_network(folder: Path, network: Network) -> list[dict[str, Any]]:
    """Write a network in evaluation mode, and return what the manifest tells of its parts.

    By torch's tracing exporter: the other one unrolls recurrent units to the length that it is shown.

    Raises:
        UserError: packages are missing.
    """
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"{type(network.backbone).__name__} scores by a network, which is written as ONNX and held against the "
                "model: pip install 'lightning_vq[serve]'"
            )
    shown = tuple(torch.randn((1, dim) if axis is None else (1, 5, dim)) for _, dim, axis in network.given)
    named = [(name, axis) for name, _, axis in network.given]
    free = {name: {1: axis} for name, axis in (*named, network.output) if axis is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of traced shapes, which the check of what was written is for
        torch.onnx.export(
            network, shown, folder / FILE, dynamo=False, opset_version=OPSET, dynamic_axes=free,
            input_names=[name for name, _ in named], output_names=[network.output[0]],
        )  # fmt: skip
    weights = 4 * sum(one.numel() for one in network.state_dict().values())
    # The rest of the file is what is done with the weights: a program, which no formula counts.
    graph = (folder / FILE).stat().st_size - weights
    return [{"key": FILE, "name": "weights", "bits": 8 * weights, "bytes": weights, "graph": graph, "entities": None}]
