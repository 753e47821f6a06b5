"""An artifact gives what the model gives: vectors, scores, recommendations, the test's metrics, and what it takes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from served import served, tells_its_bytes
from small import data, trained

from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.collaborative.cfkg import CFKG
from lightning_vq.backbones.collaborative.gmf import GMF
from lightning_vq.backbones.collaborative.lightgcn import LightGCN
from lightning_vq.backbones.collaborative.ngcf import NGCF
from lightning_vq.data.splits import TEST
from lightning_vq.errors import UserError
from lightning_vq.export.sizes import sizes
from lightning_vq.lookup import Lookup
from lightning_vq.losses import all_scores
from lightning_vq.metrics import user_metrics
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.quantizers import DPQ, DQVAE, MGQE, Cascaded, LowRank, Scalar
from lightning_vq.serving import Artifact, load
from lightning_vq.types import Output, Pairs, TableSpec

QUANTIZERS: dict[str, Any] = {
    "none": None,
    "Cascaded": partial(Cascaded, codebook_sizes=[12, 4]),
    "DPQ": partial(DPQ, subspaces=4, centroids=16),
    "DPQ of odd bits": partial(DPQ, subspaces=3, centroids=20),
    "MGQE": partial(MGQE, subspaces=[6, 6], centroids=[32, 8]),
    "MGQE, unshared": partial(MGQE, subspaces=[6, 6], centroids=[32, 8], shared=False),
    "MGQE, fewer subspaces": partial(MGQE, subspaces=[12, 4], centroids=[16, 16], shared=False),
    "LowRank": partial(LowRank, rank=5),
    "Scalar": partial(Scalar, bits_each=5),
    "DQVAE": partial(DQVAE, groups=3, codes=16),
}
BACKBONES: dict[str, Callable[[], Backbone]] = {
    "BPRMF": partial(BPRMF, 12),
    "BPRMF without biases": partial(BPRMF, 12, item_bias=False),
    "GMF": partial(GMF, 12),
    "LightGCN": partial(LightGCN, 12),
    "NGCF": partial(NGCF, 12),
    "CFKG": partial(CFKG, 12),
}


def exported(folder: Path, backbone: Backbone, quantizer: Any) -> tuple[Artifact, CollaborativeFiltering, Any]:
    """Return the artifact of a model of both vocabularies quantized alike, the model, and its tested data."""
    quantizers = {"user": quantizer, "item": quantizer} if quantizer else {}
    held = data()
    loss: Any = "margin" if isinstance(backbone, CFKG) else "bpr"
    module, trainer = trained(backbone, quantizers, held=held, loss=loss)
    trainer.test(module, datamodule=held, verbose=False)
    return served(folder, module, held), module, held


def scores_of(module: CollaborativeFiltering) -> torch.Tensor:
    assert module.facts is not None
    with torch.no_grad():
        users = torch.arange(module.facts.rows["user"])
        return all_scores(module.backbone(module.lookup(), Pairs(users, None)))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_vectors_are_the_models(name: str, tmp_path: Path) -> None:
    artifact, module, held = exported(tmp_path, BPRMF(12), QUANTIZERS[name])
    look = module.lookup()
    for vocab, told in held.vocabularies().items():
        with torch.no_grad():
            expected = look.all(vocab).numpy()
        ids = told.ids.to_pylist()
        found = artifact.embed(vocab, ids)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-6, rtol=1e-6)
        some = [7, 3, 3, 50]
        np.testing.assert_allclose(artifact.embed(vocab, [ids[i] for i in some]), found[some], atol=1e-7)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", ["none", "MGQE", "Cascaded"])
def test_scores_and_metrics_of_the_test_are_the_models(backbone: str, name: str, tmp_path: Path) -> None:
    artifact, module, held = exported(tmp_path, BACKBONES[backbone](), QUANTIZERS[name])
    expected = scores_of(module).numpy()
    users, items = (held.vocabularies()[vocab].ids.to_pylist() for vocab in ("user", "item"))
    found = np.stack([artifact.score(user, items) for user in users])
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
    values = metrics(artifact, held)
    for metric, value in values.items():
        assert value == pytest.approx(module.trainer.callback_metrics[f"test/{metric}/full"].item(), abs=1e-6), metric


def metrics(artifact: Artifact, held: Any) -> dict[str, float]:
    """Return the test's metrics of full ranking from the artifact alone and the held-out interactions."""
    owners, positives = held.parts[TEST]
    users = artifact.rows("user", held.raw.user_ids.take(pa.array(owners.numpy())).to_pylist())
    items = artifact.rows("item", held.raw.item_ids.take(pa.array(positives.numpy())).to_pylist())
    scores = artifact.all_scores(users)
    places, seen = artifact._seen(users)
    own = scores[np.arange(len(users)), items]
    scores[places, seen] = -np.inf
    scores[np.arange(len(users)), items] = own
    ranks = torch.from_numpy((scores >= own[:, None]).sum(1))
    told = user_metrics(("hr", "ndcg"), (5, 10), owners, ranks, one_list=True)
    return {metric: value.mean().item() for metric, value in told.items()}


@pytest.mark.parametrize("name", ["none", "DPQ", "MGQE", "MGQE, fewer subspaces", "LowRank", "Scalar", "DQVAE"])
@pytest.mark.parametrize("many", [True, False])
def test_recommendations_are_the_best_unseen(name: str, many: bool, tmp_path: Path) -> None:
    artifact, module, held = exported(tmp_path, GMF(12), QUANTIZERS[name])
    scores, trained_on = scores_of(module), module.facts.pairs.long()  # type: ignore[union-attr]
    scores[trained_on[:, 0], trained_on[:, 1]] = -torch.inf
    users, items = (held.vocabularies()[vocab].ids.to_pylist() for vocab in ("user", "item"))
    found = artifact.recommend_many(users, 7) if many else [artifact.recommend(user, 7) for user in users]
    for row, told in zip(scores, found):
        best = row.topk(7).values.numpy()
        assert len(told) == 7
        np.testing.assert_allclose([score for _, score in told], best, atol=1e-5)
        np.testing.assert_allclose([row[items.index(item)] for item, _ in told], best, atol=1e-5)
    assert len(artifact.recommend(users[0], 1000)) == int((scores[0] > -torch.inf).sum())
    assert len(artifact.recommend(users[0], 1000, exclude_seen=False)) == len(items)
    first = [item for item, _ in found[0]]
    after = [item for item, _ in artifact.recommend(users[0], 4, exclude=first[:3])]
    assert after == first[3:7]


@pytest.mark.parametrize("name", QUANTIZERS)
def test_what_it_takes_is_what_is_on_disk_and_by_the_formula(name: str, tmp_path: Path) -> None:
    artifact, module, _ = exported(tmp_path, BPRMF(12), QUANTIZERS[name])
    found = sizes(artifact)
    assert found.whole == sum(path.stat().st_size for path in tmp_path.iterdir())
    # What is neither a part nor told beside them is headers: numpy's of 128 bytes a file, safetensors' as it says.
    first = (tmp_path / "weights.safetensors").read_bytes()[:8]
    own = [part["key"] for some in artifact.manifest["parts"].values() for part in some if part["entities"]]
    headers = next(part for part in found.beside if part.name == "headers of files")
    assert headers.bytes == 128 * len(own) + 8 + int.from_bytes(first, "little")
    assert found.full == 4 * (12 * (120 + 80) + 80)
    for vocab in ("user", "item"):
        bits = sum(part.bits or 0 for part in found.parts if part.table == vocab)
        quantizer = dict(module.quantizers).get(vocab)
        kept_whole = quantizer is None or not quantizer.replaces
        assert bits == (32 * 12 * artifact.tables[vocab].rows if kept_whole else quantizer.bits())  # type: ignore[operator,union-attr]
    for part in found.parts:
        assert part.bits is not None
        assert part.bytes == -(-part.bits // 8)


def test_unknown_ids_are_refused_or_get_the_fallback(tmp_path: Path) -> None:
    artifact, _, held = exported(tmp_path, BPRMF(12), QUANTIZERS["DPQ"])
    known = held.vocabularies()["item"].ids[0].as_py()
    with pytest.raises(UserError, match="2 of 3 item ids are unknown: nobody, 99"):
        artifact.embed("item", ["nobody", known, 99])
    found = artifact.embed("item", ["nobody", known], unknown="fallback")
    assert (found[0] == 0).all()
    assert np.array_equal(found[1], artifact.embed("item", [known])[0])
    with pytest.raises(UserError, match="no table 'items'; did you mean 'item'"):
        artifact.embed("items", [known])
    with pytest.raises(UserError, match="unknown: nobody"):
        artifact.recommend("nobody")
    with pytest.raises(UserError, match="k is 0"):
        artifact.recommend(held.vocabularies()["user"].ids[0].as_py(), 0)


@pytest.mark.parametrize(
    ("backbone", "name"),
    [*((b, q) for b in ("BPRMF", "BPRMF without biases", "GMF") for q in QUANTIZERS)]
    + [(b, q) for b in ("LightGCN", "NGCF", "CFKG") for q in ("none", "DPQ")],
)
def test_what_a_run_tells_of_its_bytes_is_what_its_artifact_takes(backbone: str, name: str, tmp_path: Path) -> None:
    artifact, module, _ = exported(tmp_path, BACKBONES[backbone](), QUANTIZERS[name])
    tells_its_bytes(artifact, module)


@pytest.mark.parametrize("name", ["none", "DPQ", "Cascaded"])
def test_a_graph_model_is_served_by_its_final_vectors(name: str, tmp_path: Path) -> None:
    artifact, _, held = exported(tmp_path, NGCF(12), QUANTIZERS[name])
    assert set(artifact.tables) == {"user", "item"}
    found = sizes(artifact)
    dim = artifact.tables["item"].dim
    assert dim > 12  # the output of every layer
    assert found.full == found.served == 4 * dim * (120 + 80)  # a quantizer of what goes in saves nothing here
    ids = held.vocabularies()
    user, items = ids["user"].ids[3].as_py(), ids["item"].ids.to_pylist()
    scores = artifact.embed("item", items) @ artifact.embed("user", [user])[0]
    np.testing.assert_allclose(scores, artifact.score(user, items), rtol=1e-5, atol=1e-7)


class Listeners(BPRMF):
    """A backbone of one's own, whose table of users has another name."""

    def tables(self) -> dict[str, TableSpec]:
        return {"listener" if name == "user" else name: spec for name, spec in super().tables().items()}

    def forward(self, look: Lookup, batch: Pairs) -> Output:
        keys = look.all("item") if batch.items is None else look("item", batch.items)
        return Output(look("listener", batch.users), keys)


def test_tables_may_have_any_name(tmp_path: Path) -> None:
    artifact, _, held = exported(tmp_path, Listeners(12, item_bias=False), QUANTIZERS["DPQ"])
    assert set(artifact.tables) == {"listener", "item"}
    user, items = held.vocabularies()["user"].ids[3].as_py(), held.vocabularies()["item"].ids.to_pylist()
    expected = artifact.embed("item", items) @ artifact.embed("listener", [user])[0]
    np.testing.assert_allclose(artifact.score(user, items), expected, rtol=1e-5, atol=1e-7)


def test_blocks_and_parts_do_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items come in blocks, users in parts: with tiny ones the lists are those of all at once, by brute force."""
    artifact, _, held = exported(tmp_path, BPRMF(12), QUANTIZERS["MGQE"])
    users, items = (held.vocabularies()[vocab].ids.to_pylist() for vocab in ("user", "item"))
    monkeypatch.setattr("lightning_vq.serving.ranking.BLOCK", 7)
    monkeypatch.setattr("lightning_vq.serving.artifact.BLOCK", 7)
    monkeypatch.setattr("lightning_vq.serving.artifact.MEMORY", 4 * 7 * 3)
    asked = [users[3], "nobody", *users[5:12]]
    found = artifact.recommend_many(asked, 9, exclude=[items[0], "new"], unknown="skip")
    starts, history = artifact.history["starts"], artifact.history["items"]
    assert found[1] == []
    for user, best in zip(asked, found):
        if user == "nobody":
            continue
        row = int(artifact.rows("user", [user])[0])
        scores = dict(zip(items, artifact.score(user, items).tolist()))
        had = {artifact.ids["item"].ids([int(item)])[0] for item in history[starts[row] : starts[row + 1]]}
        expected = sorted((set(items) - had - {items[0]}), key=lambda item: -scores[item])[:9]
        assert [item for item, _ in best] == expected
    assert artifact.recommend_many(["nobody"], unknown="skip") == [[]]
    with pytest.raises(UserError, match="unknown: new"):
        artifact.recommend(users[3], exclude=["new"])


@pytest.mark.parametrize("row", [-1, 120, 1.0])
def test_a_row_that_is_not_there_is_refused(row: float, tmp_path: Path) -> None:
    artifact, _, _ = exported(tmp_path, BPRMF(12), QUANTIZERS["DPQ"])
    for asked in (artifact.all_scores, lambda rows: artifact.top(rows, 3), lambda rows: artifact.top(rows, 3, False)):
        with pytest.raises(UserError, match="rows of users must be whole numbers from 0 to 119"):
            asked(np.array([0, row]))


def test_an_id_that_no_file_can_hold_is_unknown(tmp_path: Path) -> None:
    artifact, _, _ = exported(tmp_path, BPRMF(12), None)
    assert not artifact.embed("item", ["\udcff"], unknown="fallback").any()
    with pytest.raises(UserError, match="1 of 1 item ids are unknown"):
        artifact.embed("item", ["\udcff"])


@pytest.mark.parametrize("k", [0, 2.5, True, "3"])
def test_a_number_that_counts_nothing_is_refused(k: Any, tmp_path: Path) -> None:
    artifact, _, held = exported(tmp_path, BPRMF(12), None)
    user = held.vocabularies()["user"].ids[0].as_py()
    with pytest.raises(UserError, match=rf"k is {k!r}; it must be a whole number of at least 1"):
        artifact.recommend(user, k)
    assert len(artifact.recommend(user, 10**12, exclude_seen=False)) == 80
    with pytest.raises(UserError, match="unknown is 'zero'; it must be 'error' or 'fallback'"):
        artifact.embed("item", ["nowhere"], unknown="zero")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is one id where several are asked for"):
        artifact.score(user, "i3")
    with pytest.raises(UserError, match="286 is one id where several are asked for"):
        artifact.recommend(user, exclude=286)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="are several ids where one is asked for; for several there is recommend_many"):
        artifact.recommend([user, user])
    with pytest.raises(UserError, match="check is 'md5'; it must be one of crc32, sha256"):
        load(tmp_path, check="md5")  # type: ignore[arg-type]
