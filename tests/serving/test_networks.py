"""Models whose scores are no inner products of rows are served by a network: it gives what the model gives."""

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch
from command import done
from served import served, tells_its_bytes
from small import data
from small import trained as trained_pairs
from small_lists import lists, trained

from lightning_vq.backbones.collaborative.neumf import NeuMF
from lightning_vq.backbones.list_completion.bert4rec import BERT4Rec
from lightning_vq.backbones.list_completion.car import CAR
from lightning_vq.backbones.list_completion.caser import Caser
from lightning_vq.backbones.list_completion.fans import FANS
from lightning_vq.backbones.list_completion.gru4rec import GRU4Rec
from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.backbones.lists import ListBackbone
from lightning_vq.data.splits import TEST
from lightning_vq.errors import UserError
from lightning_vq.export.networks import ListEncoder, write_network
from lightning_vq.export.sizes import sizes
from lightning_vq.list_metrics import completion_metric
from lightning_vq.modules import ListCompletion
from lightning_vq.modules.decoding import next_hidden
from lightning_vq.quantizers import DPQ, MGQE, Cascaded
from lightning_vq.serving import Artifact
from lightning_vq.types import Pairs

QUANTIZERS: dict[str, Any] = {
    "none": None,
    "Cascaded": partial(Cascaded, codebook_sizes=[12, 4]),
    "DPQ": partial(DPQ, subspaces=4, centroids=16),
    "MGQE": partial(MGQE, subspaces=[8, 8], centroids=[16, 8]),
}
BACKBONES: dict[str, Callable[[], ListBackbone]] = {
    "SASRec": partial(SASRec, 16, layers=2, heads=2),
    "SASRec, untied": partial(SASRec, 16, tied=False),
    "BERT4Rec": partial(BERT4Rec, 16, layers=2, heads=2),
    "CAR": partial(CAR, 16, layers=2, heads=2),
    "GRU4Rec": partial(GRU4Rec, 16, layers=2),
    "GRU4Rec, wider": partial(GRU4Rec, 16, layers=1, hidden=24),
    "Caser": partial(Caser, 16),
    "FANS": partial(FANS, 16, layers=1, heads=2),
    "FANS, tied": partial(FANS, 16, layers=2, heads=2, tied=True),
}


def exported(folder: Path, backbone: ListBackbone, quantizer: Any) -> tuple[Artifact, ListCompletion, Any]:
    """Return the artifact of a model of next items, the model, and its tested data."""
    held = lists(protocol="next", eval_negatives=0)
    module, trainer = trained(backbone, {"item": quantizer} if quantizer else {}, held=held)
    trainer.test(module, datamodule=held, verbose=False)
    return served(folder, module, held), module, held


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", ["none", "Cascaded", "MGQE"])
def test_queries_and_metrics_of_the_test_are_the_models(backbone: str, name: str, tmp_path: Path) -> None:
    artifact, module, held = exported(tmp_path, BACKBONES[backbone](), QUANTIZERS[name])
    part, ids = held.parts[TEST], held.vocabularies()["item"].ids
    assert isinstance(module.backbone, ListBackbone)
    look, ranks = module.lookup(), []
    with torch.no_grad():
        keys, bias = module.backbone.keys(look)
        for number in range(len(part.lengths)):
            known, [target] = _halves(part, number)
            query = next_hidden(module.backbone, look, torch.tensor([known]))
            rows = artifact.rows("item", ids.take(pa.array(known)).to_pylist())
            np.testing.assert_allclose(artifact.after(rows), query.numpy(), atol=2e-5, rtol=1e-5)
            scores = query @ keys.T + (0.0 if bias is None else bias)
            given = ids.take(pa.array(known)).to_pylist()
            best = dict(artifact.complete(given, len(ids), exclude_seen=False))
            np.testing.assert_allclose([best[one] for one in ids.to_pylist()], scores[0], atol=1e-4)
            unseen = dict(artifact.complete(given, len(ids)))
            assert set(unseen) == set(best) - set(given)
            own = best[ids[target].as_py()]
            ranks.append(sum(score >= own for score in unseen.values()) + (target in known))
    for k in (5, 10):
        hits = np.array(ranks) <= k
        expected = {"hr": hits, "ndcg": hits / np.log2(np.array(ranks) + 1)}
        for metric, values in expected.items():
            told = module.trainer.callback_metrics[f"test/{metric}@{k}/full"].item()
            assert values.mean() == pytest.approx(told, abs=1e-6), (metric, k)


def _halves(part: Any, number: int) -> tuple[list[int], list[int]]:
    """Return what is given of a test list, and what is to come."""
    first, known = int(part.begins[number]), int(part.known[number])
    items = part.items[first : first + int(part.lengths[number])].tolist()
    return items[:known], items[known:]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_lists_are_continued_as_the_test_does(backbone: str, tmp_path: Path) -> None:
    """Protocol "halves": several positions, each fed with the first choice before it, taken depth by depth."""
    held = lists()
    module, trainer = trained(BACKBONES[backbone](), {"item": QUANTIZERS["Cascaded"]}, held=held)  # no two are equal
    trainer.test(module, datamodule=held, verbose=False)
    ids, part = held.vocabularies()["item"].ids, held.parts[TEST]
    artifact, told = served(tmp_path, module, held), module.completions
    assert told is not None
    hits, lengths = torch.zeros_like(told.hit), told.lengths
    for i, case in enumerate(told.cases.tolist()):
        known, coming = _halves(part, part.cases.tolist().index(case))
        given, targets = ids.take(pa.array(known)).to_pylist(), {ids[one].as_py() for one in coming}
        found = artifact.complete(given, 10, positions=len(coming), exclude_seen=False)
        expected = told.candidates[i][told.candidates[i] >= 0]
        assert [one for one, _ in found] == ids.take(pa.array(expected.numpy())).to_pylist()
        hits[i, : len(found)] = torch.tensor([one in targets for one, _ in found])
    for metric, k in (("hr", 5), ("ndcg", 5)):
        value = completion_metric(metric, hits, lengths, k).nanmean()  # type: ignore[arg-type]
        expected = module.trainer.callback_metrics[f"test/{metric}@{k}/list"].item()
        assert value.item() == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", ["none", "DPQ", "MGQE"])
def test_pairs_that_a_perceptron_scores(name: str, tmp_path: Path) -> None:
    held, quantizer = data(), QUANTIZERS[name]
    quantizers = {"user": quantizer, "item": quantizer} if quantizer else {}
    module, _ = trained_pairs(NeuMF(16, layers=(12, 6)), quantizers, held=held)
    artifact = served(tmp_path, module, held)
    assert module.facts is not None
    with torch.no_grad():
        users = torch.arange(module.facts.rows["user"])
        expected = module.backbone(module.lookup(), Pairs(users, None)).scores
    ids = {vocab: one.ids.to_pylist() for vocab, one in held.vocabularies().items()}
    found = np.stack([artifact.score(user, ids["item"]) for user in ids["user"]])
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    expected[module.facts.pairs[:, 0].long(), module.facts.pairs[:, 1].long()] = -torch.inf  # type: ignore[index]
    for row, best in zip(expected, artifact.recommend_many(ids["user"], 7)):
        np.testing.assert_allclose([score for _, score in best], row.topk(7).values.numpy(), atol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_it_takes_is_on_disk(backbone: str, tmp_path: Path) -> None:
    artifact, module, _ = exported(tmp_path, BACKBONES[backbone](), QUANTIZERS["DPQ"])
    found = sizes(artifact)
    assert found.whole == sum(path.stat().st_size for path in tmp_path.iterdir())
    network = next(part for part in found.parts if part.table == "network")
    more = {line.name: line.bytes for line in found.beside}
    assert network.bytes + more["graph of the network"] == (tmp_path / "network.onnx").stat().st_size
    assert 0 < more["graph of the network"] < 128 * 1024
    assert 0 < more["headers of files"] < 4096  # nothing else hides there
    dense = sum(weights.numel() for weights in module.backbone.parameters())
    tokens = sum(weights.numel() for weights in module.outside.values())
    assert network.bits == 32 * (dense + tokens)
    kept = onnx.load(tmp_path / "network.onnx").graph.initializer
    numbers = sum(math.prod(one.dims) for one in kept if one.data_type == onnx.TensorProto.FLOAT)
    assert 0.95 * (dense + tokens) <= numbers <= 1.05 * (dense + tokens)  # the weights stand in it once


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", QUANTIZERS)
def test_what_a_run_tells_of_its_bytes_is_what_its_artifact_takes(backbone: str, name: str, tmp_path: Path) -> None:
    artifact, module, _ = exported(tmp_path, BACKBONES[backbone](), QUANTIZERS[name])
    tells_its_bytes(artifact, module)


def test_a_list_that_cannot_be_continued(tmp_path: Path) -> None:
    artifact, _, held = exported(tmp_path, SASRec(16), None)
    some = held.vocabularies()["item"].ids.to_pylist()[:3]
    with pytest.raises(UserError, match="1 of 4 item ids are unknown: nowhere"):
        artifact.complete([*some, "nowhere"])
    assert artifact.complete([*some, "nowhere"], unknown="skip") == artifact.complete(some)
    assert artifact.complete(["nowhere"], unknown="skip") == []
    with pytest.raises(UserError, match="the list has no known item"):
        artifact.complete([], unknown="skip")
    with pytest.raises(UserError, match="k is 0"):
        artifact.complete(some, 0)
    with pytest.raises(UserError, match="positions is 0"):
        artifact.complete(some, 3, positions=0)
    with pytest.raises(UserError, match="positions is 57; the artifact has 56 items"):
        artifact.complete(some, 3, positions=57)
    assert [len(artifact.complete(some)), len(artifact.complete(some, positions=4))] == [10, 4]
    with pytest.raises(UserError, match=r"of SASRec it serves what comes next in a list \(complete\)"):
        artifact.recommend(some[0])
    told = [item for item, _ in artifact.complete(some, 4)]
    assert not set(told) & set(some)
    assert [item for item, _ in artifact.complete(some, 2, exclude=told[:2])] == told[2:]
    assert set(some) <= {item for item, _ in artifact.complete(some, 10_000, exclude_seen=False)}


def test_of_a_list_that_is_too_long_its_last_items_count(tmp_path: Path) -> None:
    artifact, _, held = exported(tmp_path, SASRec(16), None)
    ids = held.vocabularies()["item"].ids.to_pylist()
    longest = artifact.manifest["scores"]["longest"]
    long = [ids[i % 20] for i in range(longest + 9)]
    rows = artifact.rows("item", long)
    np.testing.assert_array_equal(artifact.after(rows), artifact.after(rows[9:]))


def test_a_mask_is_no_fallback_for_unknown_ids(tmp_path: Path) -> None:
    artifact, _, _ = exported(tmp_path, BERT4Rec(16), None)
    assert not artifact.embed("item", ["nowhere"], unknown="fallback").any()


def test_fans_of_two_stages_is_served_by_its_vectors_alone(tmp_path: Path) -> None:
    held = lists(clusters=4)
    module, _ = trained(FANS(16, layers=1, heads=2, two_stage=True), {}, held=held)
    artifact, ids = served(tmp_path, module, held), held.vocabularies()["item"].ids
    with torch.no_grad():
        expected = module.lookup().all("item").numpy()
    np.testing.assert_allclose(artifact.embed("item", ids.to_pylist()), expected, atol=1e-7)
    with pytest.raises(UserError, match="continues no lists: it is of FANS"):
        artifact.complete(ids.to_pylist()[:2])


def test_without_the_packages_it_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact, _, held = exported(tmp_path, SASRec(16), None)
    some = held.vocabularies()["item"].ids.to_pylist()[:2]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"scores by a network: pip install onnxruntime"):
        artifact.complete(some)
    assert artifact.embed("item", some).shape == (2, 16)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"SASRec scores by a network, .* pip install 'lightning_vq\[serve\]'"):
        write_network(tmp_path / "other", ListEncoder(SASRec(16), None))
    assert not (tmp_path / "other").exists()


def test_from_a_run_of_lists_to_their_next_items_on_the_command_line(tmp_path: Path) -> None:
    planted = "--data.init_args.planted={users: 90, items: 60, branching: [4, 3], mean_length: 12}"
    done("fit", "--config", str(Path("conf/sasrec.yaml").resolve()), "--trainer.max_epochs=1", planted, folder=tmp_path)
    said = done("export", "--run", "runs/sasrec/1", "--out", "served", folder=tmp_path)
    following = next(line for line in said.splitlines() if line.startswith("Next: "))
    told = following.removeprefix("Next: python -m lightning_vq ").split()
    assert told[:3] == ["recommend", "served", "--items"]
    lines = done(*told, "-k", "3", folder=tmp_path).splitlines()
    assert lines[0] == "place\titem\tscore"
    assert [line.split("\t")[0] for line in lines[1:]] == ["1", "2", "3"]
    assert not {line.split("\t")[1] for line in lines[1:]} & set(told[3:])
