"""What of a model is no inner product of rows, as ONNX: the encoder of a list, the scorer of pairs.

Tables stay outside: what is looked up comes in as vectors, so that they are served packed.
Shapes: T items of a list, C items to be scored, D dim.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.lists import Autoregressive
from lightning_vq.errors import UserError
from lightning_vq.types import Pairs

LIST, PAIR = "list", "pair"
FILE = "encoder.onnx"


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


class ListEncoder(nn.Module):
    """From the vectors (1, T, D) of a list's items to the query (1, D) for the next one.

    Args:
        backbone: that continues lists item by item.
        tokens: (S, D) its own rows of the table, or none.
    """

    def __init__(self, backbone: Autoregressive, tokens: Tensor | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("tokens", tokens)

    def forward(self, item: Tensor) -> Tensor:
        look: Any = _Given({"item": item}, self.tokens)  # type: ignore[arg-type]
        return self.backbone.begin(look, item.new_zeros(item.shape[:2], dtype=torch.int64))[0]


class PairScorer(nn.Module):
    """From a user's vectors (1, D) and items' (1, C, D), table by table, to scores (1, C).

    Args:
        backbone: that scores pairs.
        names: of its tables, in the order in which their vectors come in; items' begin with "item".
    """

    def __init__(self, backbone: Backbone, names: list[str]) -> None:
        super().__init__()
        self.backbone, self.names = backbone, names

    def forward(self, *vectors: Tensor) -> Tensor:
        look: Any = _Given(dict(zip(self.names, vectors)))
        many = next(v for n, v in zip(self.names, vectors) if n.startswith("item"))
        users = many.new_zeros(1, dtype=torch.int64)
        output = self.backbone(look, Pairs(users, many.new_zeros(many.shape[:2], dtype=torch.int64)))
        return output.scores  # type: ignore[return-value]


def write_encoder(folder: Path, encoder: ListEncoder | PairScorer, dim: int) -> None:
    """Write an encoder.

    Args:
        folder: of the artifact.
        encoder: in evaluation mode.
        dim: of the vectors that come in (D).

    Raises:
        UserError: the packages that write ONNX are not there.
    """
    try:
        import onnxruntime  # noqa: F401 (what reads it)
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError(
            f"{type(encoder.backbone).__name__} needs an encoder beside its vectors, which is written as ONNX: "
            "pip install 'lightning_vq[serve]', or export its vectors alone with --vectors-only"
        ) from None
    if isinstance(encoder, ListEncoder):
        names, given = ["item"], [torch.randn(1, 5, dim)]
    else:
        names = encoder.names
        given = [torch.randn((1, 5, dim) if name.startswith("item") else (1, dim)) for name in names]
    length = torch.export.Dim("length", min=1, max=1 << 30)
    shapes = [{1: length} if vectors.ndim == 3 else {} for vectors in given]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            encoder, tuple(given), dynamo=True, dynamic_shapes=(shapes,) if isinstance(encoder, PairScorer) else tuple(shapes),
            input_names=names, output_names=["query" if names == ["item"] else "scores"], verbose=False,
        )  # fmt: skip
    assert program is not None
    program.save(folder / FILE)
