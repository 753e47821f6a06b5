"""What is no whole artifact, or one that does not fit together, is refused in words."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from harm import (
    altered,
    changed,
    cut,
    elsewhere,
    grown,
    lost,
    no_json,
    no_list_of_files,
    no_manifest,
    no_sums,
    no_tables,
    other_array,
    other_content,
    other_weight,
    outside,
    told,
)

from lightning_vq.errors import UserError
from lightning_vq.serving import load


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut, "user.npy was cut short: it has 5,883 bytes and was written with 5,888"),
        (grown, "user.npy was altered: it has 5,889 bytes"),
        (altered, "item.codes0.npy has been altered since it was written: its crc32 is another"),
        (lost, "has no weights.safetensors, which its manifest.json names"),
        (told("seed", 1), "manifest.json has been altered"),
        (told("version", 2), "manifest.json is of version 2; this lightning_vq reads version 1"),
        (told("format", "another"), "manifest.json is of another program"),
        (elsewhere, "names '../x.npy', which is no file of the artifact's own folder"),
        (outside, "manifest.json uses '../x.npy', which is not among its files"),
        (no_sums, "manifest.json uses 'weights.safetensors', which is not among its files"),
        (no_list_of_files, "manifest.json uses 'weights.safetensors', which is not among its files"),
        (no_tables, r"its manifest and its files do not go together \(KeyError: 'tables'\)"),
        (changed("files", "user.npy", to={"bytes": 5888}), r"do not go together \(KeyError: 'crc32'\)"),
        (changed("files", "user.npy", to="x"), "do not go together"),
        (changed("tables", "item", "tiers", to=[]), "do not go together"),
        (
            changed("tables", "item", "tiers", "0", "bits", to=3),
            "item.codes0.npy has 160 bytes, and 80 x 4 codes of 3 bits",
        ),
        (changed("tables", "item", "tiers", "0", "bits", to=5), "codes of 5 bits of 16"),
        (changed("tables", "item", "tiers", "0", "rows", to=79), "item.codes0.npy has 160 bytes"),
        (changed("tables", "user", "vocab", to="item"), "120 rows of 'user' of 12 numbers, and 80 ids"),
        (changed("vocabularies", "item", "order", to="user.order.npy"), "80 ids whose order is of others"),
        (changed("history", "items", to="history.starts.npy"), "the history"),
        (other_array("key.bias.npy", np.zeros(1, np.float32)), r"biases of float32, \(1,\)"),
        (other_array("history.starts.npy", np.arange(121) + 50), "the history is not of its users"),
        (other_array("user.npy", np.zeros((120, 12), np.int8)), "vectors of int8"),
        (other_array("user.npy", np.zeros((120, 6), np.float32)), "120 rows of 'user' of 6 numbers, and 120 ids"),
        (changed("scores", "keys", to="user"), "keys are of 'user'"),
        (other_content("weights.safetensors", b"junk"), "do not go together"),
        (other_content("user.npy", b""), "do not go together"),
        (other_array("item.ids.npy", np.arange(80.0)), r"ids of float64, \(80,\)"),
        (other_array("item.order.npy", np.arange(80.0)), "in an order of float64"),
        (other_array("item.order.npy", np.zeros((80, 1), np.int32)), r"in an order of int32, \(80, 1\)"),
        (other_array("key.bias.npy", np.array(["x"] * 80)), "biases of <U1"),
        (other_array("key.bias.npy", np.full(80, np.nan, np.float32)), "biases with NaN or infinity"),
        (other_array("history.items.npy", np.zeros(5, np.float32)), "the history is not of its users"),
        (other_weight("item.book0", np.full((4, 16, 3), np.nan, np.float32)), "codebook with NaN or infinity"),
        (other_weight("item.book0", np.zeros((4, 16, 3))), "codebook of float64"),
        (changed("tables", "item", "tiers", "0", "rows", to=80.0), "item.codes0.npy of 80.0 rows"),
        (changed("tables", "item", "dim", to=3), "80 rows of 'item' of 12 numbers"),
        (changed("tables", "item", "rows", to=3), "80 rows of 'item'"),
        (no_json, "manifest.json is broken: it is no JSON"),
        (no_manifest, "is no artifact: it has no manifest.json"),
    ],
)
def test_what_is_not_whole_is_refused(artifact: Path, tmp_path: Path, harm: Callable[[Path], None], said: str) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(artifact, folder)
    load(folder, check="sha256")
    harm(folder)
    with pytest.raises(UserError, match=said):
        load(folder)


def test_a_code_that_its_codebook_does_not_have_is_refused_where_it_is_used(artifact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(artifact, folder)
    used = load(folder).tables["item"].tiers[0].book[:, :9]  # type: ignore[attr-defined]
    other_weight("item.book0", np.ascontiguousarray(used))(folder)
    harmed = load(folder)
    ids = {vocab: one.ids(np.arange(len(one))) for vocab, one in harmed.ids.items()}
    with pytest.raises(UserError, match="code 15 in a codebook of 9"):
        harmed.embed("item", ids["item"])
    with pytest.raises(UserError, match="code 15 in a codebook of 9"):
        harmed.recommend(ids["user"][0])
