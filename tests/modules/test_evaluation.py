"""Full and sampled ranking through the module itself, with scorers whose figures are known."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from one_held_out import hit_ratio, ndcg
from small import cascaded, data, trained

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.data import CollaborativeData
from lightning_vq.data.loaders import EvalLoader
from lightning_vq.errors import UserError
from lightning_vq.modules import CollaborativeFiltering
from lightning_vq.trainer import Trainer

needs_data = pytest.mark.skipif("LIGHTNING_VQ_DATA" not in os.environ, reason="real data: set LIGHTNING_VQ_DATA")


def scorer(held: CollaborativeData, bias: torch.Tensor) -> CollaborativeFiltering:
    """Return a module that scores every item by its bias alone."""
    module = CollaborativeFiltering(BPRMF(dim=2))
    module.build(held.facts())
    with torch.no_grad():
        module.tables["user"].zero_()
        module.tables["item"].zero_()
        module.tables["item_bias"].copy_(bias[:, None])
    return module


@torch.no_grad()
def metrics(module: CollaborativeFiltering, held: CollaborativeData) -> dict[str, float]:
    found: dict[str, list[torch.Tensor]] = {}
    look = module.lookup()
    for batch in held.test_dataloader():
        for protocol, ranks in module.ranks_of(look, batch).items():
            found.setdefault(protocol, []).append(ranks)
    values = {}
    for protocol, parts in found.items():
        values[f"hr@10/{protocol}"] = hit_ratio(torch.cat(parts), 10).mean().item()
        values[f"ndcg@10/{protocol}"] = ndcg(torch.cat(parts), 10).mean().item()
    return values


def test_a_constant_scorer_gets_nothing() -> None:
    held = data()
    held.setup()
    assert set(metrics(scorer(held, torch.zeros(80)), held).values()) == {0.0}


def test_only_training_items_are_masked() -> None:
    held = data()
    held.setup()
    module = scorer(held, torch.arange(80.0))
    batch = next(iter(held.test_dataloader()))
    scores = module.score_all(module.lookup(), batch)
    trained_on = {(int(u), int(i)) for u, i in zip(*held.parts[0])}
    for row, user in enumerate(batch.users.tolist()):
        masked = {int(i) for i in torch.isinf(scores[row]).nonzero()}
        assert masked == {i for u, i in trained_on if u == user}
    ranks = module.ranks_of(module.lookup(), batch)["full"]
    # By hand: items are scored by their number, so the rank counts higher ones that were not trained on, and itself.
    for row, (user, item) in enumerate(zip(batch.users.tolist(), batch.positives.tolist())):
        assert int(ranks[row]) == sum((user, other) not in trained_on for other in range(item, 80))


def test_predicted_items_are_in_neither_train_nor_dev() -> None:
    held = data()
    held.setup()
    module = scorer(held, torch.arange(80.0))
    known = {(int(u), int(i)) for part in (0, 1) for u, i in zip(*held.parts[part])}
    module.on_predict_epoch_start()
    for batch in held.predict_dataloader():
        users, items, scores = module.predict_step(batch, 0)
        assert torch.isfinite(scores).all()
        assert not known & {(int(u), int(i)) for u, row in zip(users, items) for i in row}


def test_a_product_that_overflows_stops_the_run() -> None:
    held = data()
    held.setup()
    module = scorer(held, torch.zeros(80))
    with torch.no_grad():
        module.tables["user"].fill_(1e25)
        module.tables["item"][:, 0], module.tables["item"][:, 1] = 1e25, -1e25
    with pytest.raises(UserError, match=r"scores \(\d+, 80\) hold NaN"):
        metrics(module, held)


def test_weight_decay_acts_on_tables_and_never_on_biases_or_codes() -> None:
    module, _ = trained(BPRMF(), {"item": cascaded}, epochs=0)
    decayed, plain = module.configure_optimizers().param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (1e-4, 0.0)
    assert {id(p) for p in decayed["params"]} == {id(module.tables["user"]), id(module.tables["item"])}
    expected = [module.tables["item_bias"], *module.quantizers["item"].parameters()]
    assert {id(p) for p in plain["params"]} == {id(p) for p in expected}


@needs_data
def test_popularity_anchors() -> None:
    expected = {
        "ml-1m": {"hr@10/uni99": 0.4571, "ndcg@10/uni99": 0.2509, "hr@10/full": 0.0368, "ndcg@10/full": 0.0179},
        "amazon-grocery": {"hr@10/full": 0.0073, "ndcg@10/full": 0.0038},
    }
    for source, figures in expected.items():
        held = CollaborativeData(source=source)
        held.setup()
        found = metrics(scorer(held, held.facts().counts["item"].float()), held)
        assert {name: found[name] for name in figures} == pytest.approx(figures, abs=5.1e-5)


@needs_data
def test_a_random_scorer_hits_k_in_a_hundred() -> None:
    held = CollaborativeData(source="amazon-grocery", eval_protocols=("sampled",))
    held.setup()
    found = []
    for seed in range(5):  # one random score an item: the mean over five draws, 14,681 users
        bias = torch.rand(held.item_count, generator=torch.Generator().manual_seed(seed))
        found.append(metrics(scorer(held, bias), held))
    exact = sum(1 / torch.log2(torch.tensor(r + 1.0)).item() for r in range(1, 11)) / 100
    assert exact == pytest.approx(0.0454, abs=5e-5)
    assert sum(f["hr@10/uni99"] for f in found) / 5 == pytest.approx(0.1, abs=0.01)
    assert sum(f["ndcg@10/uni99"] for f in found) / 5 == pytest.approx(exact, abs=0.006)


# -- several held-out items a user -------------------------------------------------------------------------------------


def several(tmp_path: Path, memory_mib: int = 64) -> CollaborativeData:
    """Return data with one to four test items a user, one dev item for most, and users of no test item."""
    draw = np.random.default_rng(0)
    rows = ["user,item,split"]
    for user in range(30):
        items = draw.permutation(40)[:12]
        parts = ["train"] * 7 + ["dev"] * (user % 5 > 0) + ["test"] * (user % 5)
        rows += [f"u{user},i{item},{part}" for item, part in zip(items, parts)]
    path = tmp_path / "several.csv"
    path.write_text("\n".join([*rows, *(f"u29,j{i},train" for i in range(20))]) + "\n")
    held = CollaborativeData(source=str(path), eval_memory_mib=memory_mib, eval_negatives=9)
    held.setup()
    return held


def test_several_held_out_items_by_brute_force(tmp_path: Path) -> None:
    held = several(tmp_path)
    module = CollaborativeFiltering(BPRMF(dim=8), metrics=("hr", "recall", "ndcg", "mrr", "map"), ks=(3, 10))
    module.build(held.facts())
    trainer = Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
    found = trainer.test(module, datamodule=held, verbose=False)[0]
    p, q, b = (module.tables[name].detach().double().numpy() for name in ("user", "item", "item_bias"))
    scores = p @ q.T + b[:, 0]
    parts = [{(int(u), int(i)) for u, i in zip(*held.parts[part])} for part in range(3)]
    lists, values = [], {name: [] for name in ("hr", "recall", "ndcg", "mrr", "map")}
    for user in sorted({u for u, _ in parts[2]}):
        trained_on = {i for u, i in parts[0] if u == user}
        order = [i for i in np.argsort(-scores[user]) if i not in trained_on][:10]
        lists.append(order)
        wanted = {i for u, i in parts[2] if u == user}
        hits = [item in wanted for item in order]
        places = [place for place, hit in enumerate(hits, 1) if hit]
        best = min(len(wanted), 10)
        values["hr"].append(bool(places))
        values["recall"].append(len(places) / len(wanted))
        values["mrr"].append(1 / places[0] if places else 0)
        values["map"].append(sum(j / place for j, place in enumerate(places, 1)) / best)
        ideal = sum(1 / math.log2(place + 1) for place in range(1, best + 1))
        values["ndcg"].append(sum(1 / math.log2(place + 1) for place in places) / ideal)
    for name, each in values.items():
        assert found[f"test/{name}@10/full"] == pytest.approx(np.mean(each), abs=1e-6), name
    flat = np.concatenate(lists)
    assert found["test/coverage@10/full"] == pytest.approx(len(set(flat)) / held.item_count)
    counts = held.facts().counts["item"].numpy()
    assert found["test/popularity@10/full"] == pytest.approx(counts[flat].mean(), rel=1e-6)


def test_batches_hold_whole_users_with_all_they_hold_out(tmp_path: Path) -> None:
    held = several(tmp_path)
    users, items = held.parts[2]
    batches = list(EvalLoader(torch.unique(users), 4, held.test_dataloader().make, 0, 1))
    assert len(batches) == 6
    assert torch.cat([b.cases for b in batches]).tolist() == list(range(len(users)))
    for batch in batches:
        assert torch.equal(batch.users[batch.owners], users[batch.cases])
        assert torch.equal(batch.positives, items[batch.cases])
        assert batch.candidates is not None
        assert batch.candidates.shape == (len(batch.cases), 9)
        assert not held.evaluation.known.contains(
            users[batch.cases].repeat_interleave(9), batch.candidates.flatten()
        ).any()
