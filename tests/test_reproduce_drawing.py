"""What a table is drawn as: curves of its rows, curves of training, similarity of codes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from command import SMALL, done
from matplotlib.image import imread
from small_table import TABLE, reproduce

from lightning_vq.errors import UserError
from lightning_vq.reproduce.drawing import Drawing, codes_of, curves, draw_lines, draw_similarity
from lightning_vq.sources.interactions import Metadata
from lightning_vq.vocabulary import Vocabulary, write_vocabulary

PNG = b"\x89PNG"


def test_epochs_are_kept_and_drawn(tmp_path: Path) -> None:
    table = {**TABLE, "drawing": {"kind": "epochs", "y": "loss/task"}}
    text = reproduce(tmp_path, "--rows", "fixed", table=table)
    folder = tmp_path / "out/small/small"
    assert f"Written: {folder / 'drawing.png'}" in text
    assert (folder / "drawing.png").read_bytes().startswith(PNG)
    assert "![A small table](drawing.png)" in (folder / "table.md").read_text()
    kept = json.loads((folder / "fixed/results.json").read_text())["1"]["drawn"]["loss/task"]
    assert len(kept) == 2  # epochs
    assert kept[1] < kept[0]
    reproduce(tmp_path, "--report", table={**TABLE, "drawing": {"kind": "curves", "y": "N@10"}}, expect=2)


def test_curves_are_of_rows_that_ran() -> None:
    over = {"DPQ 4": None, "DPQ 8": None, "MGQE 4": None, "Full": None}
    means = {("DPQ 8", "size"): 0.3, ("DPQ 8", "N"): 0.2, ("DPQ 4", "size"): 0.1, ("DPQ 4", "N"): 0.1}
    drawing = Drawing("curves", "N", "size")
    assert curves(drawing, over, {**means, ("Full", "N"): 0.3}) == {"DPQ": ([0.1, 0.3], [0.1, 0.2])}
    over = {"DPQ 4": None, "DPQ 8": "DPQ 16", "DPQ 16": None}  # DPQ 4 is beside nothing
    means |= {("DPQ 16", "N"): 0.4, ("DPQ 16", "size"): 0.6}
    assert curves(Drawing("curves", "N", "size", relative=True), over, means) == {"DPQ": ([0.3, 0.6], [-0.5, 0.0])}


def test_curves_in_panels(tmp_path: Path) -> None:
    lines = {"K": ([5.0, 10.0], [0.2, 0.21]), "L": ([1.0, 2.0], [0.1, 0.3])}
    draw_lines(tmp_path / "one.png", Drawing("curves", "N"), lines)
    draw_lines(tmp_path / "two.png", Drawing("curves", "N", panels=True), lines)
    assert imread(tmp_path / "two.png").shape[1] > 1.6 * imread(tmp_path / "one.png").shape[1]


def test_similarity_is_of_the_categories_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = pa.array([f"i{i}" for i in range(4)])
    known = Metadata([""] * 4, [["a", "b"], ["a"], ["b"], ["b", "c"]])
    write_vocabulary(tmp_path, "item", Vocabulary(ids, np.ones(4, np.int64), known))
    monkeypatch.setattr(
        "lightning_vq.reproduce.drawing.codes_of", lambda *_: np.array([[0, 1], [0, 2], [1, 2], [1, 1]])
    )
    kept = Drawing("similarity", "item", categories=["a", "b"]).keep(tmp_path)
    assert kept["categories"] == ["a", "b"]
    # a: items 0, 1; b: 0, 2, 3. Equal codes of 0-1: 1 of 2, 0-2: none, 0-3: 1, 1-2: 1, 1-3: none, 2-3: 1.
    a_b = (0.5 + 0.0 + 0.5 + 0.5 + 0.0) / 5  # 0-2, 0-3 and 1-0, 1-2, 1-3
    np.testing.assert_allclose(kept["similarity"], [[0.5, (0.0 + 0.5 + 0.5 + 0.5 + 0.0) / 5], [a_b, 1 / 3]])


@pytest.fixture(scope="module")
def rounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run whose items are rounded to numbers of 8 bits."""
    scalar = "{class_path: lightning_vq.quantizers.Scalar, init_args: {bits_each: 8}}"
    folder, options = tmp_path_factory.mktemp("rounded"), [one for one in SMALL if "quantizers" not in one]
    options += [f"--quantization.quantizers={{item: {scalar}}}", "--trainer.max_epochs=1", "--patience=null"]
    done("fit", "--config", str(Path("conf/gmf.yaml").absolute()), *options, folder=folder)
    return folder / "runs" / "gmf" / "1"


def test_codes_of_a_run_are_those_of_its_best_model(rounded: Path) -> None:
    state = torch.load(rounded / "best.ckpt", weights_only=True)["state_dict"]
    low, step = state["quantizers.item.low"], state["quantizers.item.step"]
    codes = codes_of(rounded, "item")
    assert codes is not None
    assert codes.shape == (90, 64)
    assert codes.max() == 255
    torch.testing.assert_close(
        low + torch.from_numpy(codes) * step, state["tables.item"], rtol=0, atol=float(step.max())
    )
    assert codes_of(rounded, "user") is None


def test_an_item_without_categories_cannot_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_vocabulary(tmp_path, "item", Vocabulary(pa.array(["x", "y"]), np.ones(2, np.int64), None))
    monkeypatch.setattr("lightning_vq.reproduce.drawing.codes_of", lambda *_: np.zeros((2, 2), np.int64))
    with pytest.raises(UserError, match="its items have no categories"):
        Drawing("similarity", "item", categories=["a", "b"]).keep(tmp_path)


@pytest.mark.parametrize(
    ("drawing", "said"),
    [
        ({"kind": "curves", "y": "nDCG"}, "drawing: 'nDCG' is no column of the table: N@10, seconds"),
        ({"kind": "curves", "y": "N@10"}, "drawing: no row's name ends with a number"),
        ({"kind": "similarity", "y": "item", "categories": ["a"]}, "drawing.categories must name two or more"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tmp_path: Path, drawing: dict[str, Any], said: str) -> None:
    assert said in reproduce(tmp_path, "--report", expect=2, table={**TABLE, "drawing": drawing})


def test_rows_of_a_model_are_drawn_beside_each_other(tmp_path: Path) -> None:
    kept = {"similarity": [[0.2, 0.1], [0.1, 0.3]], "categories": ["a", "b"]}
    draw_similarity(tmp_path / "all.png", {row: [kept, kept] for row in ("GMF, MGQE", "NeuMF, MGQE", "GMF, DPQ")})
    high, wide, _ = imread(tmp_path / "all.png").shape
    assert wide / high == pytest.approx((1.2 + 2 * 3.6) / (2 * 3.6), rel=0.01)  # two models, of two tables at most
