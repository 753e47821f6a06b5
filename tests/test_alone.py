"""Each held-out interaction ranked alone: by pairs and by lists, against loops, in the same batches."""

from typing import Any

import numpy as np
import pytest
import torch
from small import PLANTED, data, trained
from small_lists import lists
from small_lists import trained as trained_lists

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.list_completion.sasrec import SASRec
from lightning_vq.data import ListData
from lightning_vq.data.alone import candidates, chances, drawn_batches
from lightning_vq.data.negatives import KnownPairs
from lightning_vq.data.splits import TEST
from lightning_vq.errors import UserError
from lightning_vq.losses import all_scores
from lightning_vq.modules.decoding import next_hidden, whole_scores
from lightning_vq.types import Pairs

PROTOCOLS: dict[str, Any] = {"eval_protocols": ["batch", "alone", "full"], "val_protocols": ["batch"], "eval_batch": 50}


def rank_by_hand(scores: torch.Tensor, item: int, among: set[int]) -> int:
    return sum(bool(scores[other] >= scores[item]) for other in among | {item})


def test_pairs_are_ranked_as_a_loop_does() -> None:
    held = data(split="ratio_by_time", **PROTOCOLS)
    module, trainer = trained(BPRMF(8), {}, held=held)
    told = trainer.test(module, datamodule=held, verbose=False)[0]
    users, items = held.parts[TEST]
    cases, values = module.tested(held)
    with torch.no_grad():
        scores = all_scores(module.backbone(module.lookup(), Pairs(torch.arange(held.user_count), None)))
    touched: list[set[int]] = [set() for _ in range(held.user_count)]
    for part in held.parts.values():
        for user, item in zip(*part):
            touched[int(user)].add(int(item))
    batches = held.evaluation.batches(TEST)
    for case in range(0, len(users), 7):
        user, item = int(users[case]), int(items[case])
        free = set(range(held.item_count)) - touched[user]
        batch = set(items[batches.of == batches.of[case]].tolist())
        assert cases["rank/alone"][case] == rank_by_hand(scores[user], item, free)
        assert cases["rank/batch50"][case] == rank_by_hand(scores[user], item, free & batch)
    for protocol in ("alone", "batch50"):
        ranks = torch.from_numpy(cases[f"rank/{protocol}"])
        assert told[f"test/hr@5/{protocol}"] == pytest.approx(float((ranks <= 5).float().mean()))
        gains = torch.where(ranks <= 10, 1 / torch.log2(ranks + 1.0), 0.0)
        assert told[f"test/ndcg@10/{protocol}"] == pytest.approx(float(gains.mean()))
        assert values[f"hr@5/{protocol}"].max() <= 1
    random = module.more(held)["random"]
    assert random["batch50"]["candidates"] == pytest.approx(_mean_candidates(batches, users, items, touched))
    free = [held.item_count - len(touched[user]) + 1 for user in users.tolist()]
    assert random["alone"]["candidates"] == pytest.approx(np.mean(free))
    assert random["alone"]["hr@5"] == pytest.approx(np.mean([5 / count for count in free]))


def _mean_candidates(batches: Any, users: torch.Tensor, items: torch.Tensor, touched: list[set[int]]) -> float:
    counts = []
    for case, user in enumerate(users.tolist()):
        batch = set(items[batches.of == batches.of[case]].tolist())
        counts.append(1 + len(batch - touched[user]))
    return float(np.mean(counts))


def test_histories_are_ranked_as_a_loop_does() -> None:
    held = lists(protocol="each", eval_batch=40, max_length=6)
    module, trainer = trained_lists(SASRec(8, layers=1, heads=1), {}, held=held)
    told = trainer.test(module, datamodule=held, verbose=False)[0]
    module.eval()
    cases, _ = module.tested(held)
    raw, evaluation = held.raw, held.evaluation
    assert raw is not None
    lists_, items = evaluation.pairs(TEST)
    batches, look = evaluation.batches(TEST), module.lookup()
    for case in range(0, len(items), 5):
        mine = raw.items[raw.starts[lists_[case]] : raw.starts[lists_[case] + 1]].tolist()
        place = mine.index(int(items[case]))
        with torch.no_grad():
            keys = module.backbone.keys(look)
            shown = torch.tensor([mine[:place][-6:]])
            scores = whole_scores(module.backbone, next_hidden(module.backbone, look, shown), *keys)[0]
        free = set(range(len(raw.item_ids))) - set(mine)
        batch = set(items[batches.of == batches.of[case]].tolist())
        assert cases["rank/alone"][case] == rank_by_hand(scores, int(items[case]), free)
        assert cases["rank/batch40"][case] == rank_by_hand(scores, int(items[case]), free & batch)
    assert told["test/hr@5/alone"] == pytest.approx(float((cases["rank/alone"] <= 5).mean()))


def test_pairs_and_histories_hold_out_the_same_in_the_same_batches(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    rows = [(u, i, t) for u in range(40) for t, i in enumerate(rng.permutation(30)[: rng.integers(6, 25)])]
    path = tmp_path / "mine.csv"
    path.write_text("user,item,timestamp\n" + "".join(f"{u},{i},{t * 50 + u}\n" for u, i, t in rows))
    pairs = data(source=str(path), split="ratio_by_time", **PROTOCOLS)
    histories = ListData(str(path), protocol="each", eval_batch=50)
    pairs.setup()
    histories.setup()
    for part in (1, 2):
        users, items = pairs.parts[part]
        lists_, held = histories.evaluation.pairs(part)
        names = (pairs.raw.user_ids.to_pylist(), pairs.raw.item_ids.to_pylist())
        theirs = (histories.raw.list_ids.to_pylist(), histories.raw.item_ids.to_pylist())
        assert [(names[0][u], names[1][i]) for u, i in zip(users, items)] == [
            (theirs[0][u], theirs[1][i]) for u, i in zip(lists_, held)
        ]
        assert torch.equal(pairs.evaluation.batches(part).of, histories.evaluation.batches(part).of)


def test_each_interaction_of_training_is_in_one_stretch_or_alone_in_the_last() -> None:
    held = ListData(protocol="each", planted=PLANTED, max_length=5)
    held.setup()
    parts, raw = held.parts, held.raw
    assert raw is not None
    trained = sum(int(length) for length in parts[0].lengths)
    held_out = len(parts[1].lengths) + len(parts[2].lengths)
    assert 0 <= len(raw.items) - trained - held_out <= len(raw.list_ids)  # a stretch of one item teaches nothing
    assert int(parts[0].lengths.max()) == 6
    assert len(torch.unique(parts[0].begins)) == len(parts[0].begins)


def test_each_list_is_predicted_once() -> None:
    held = ListData(protocol="each", planted=PLANTED)
    held.setup()
    cases = torch.cat([batch.cases for batch in held.predict_dataloader()])
    assert sorted(cases.tolist()) == sorted(set(held.parts[TEST].cases.tolist()))


def test_a_random_scorer_by_hand() -> None:
    users, items = torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1])
    known = KnownPairs(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 0]), 4, "here")
    counts = candidates(drawn_batches(users, items, 4, 3, 0), users, known)
    # 0 and 1 of user 0, 1 and 0 of user 1, 1 alone of user 2, who knows 0.
    assert counts.tolist() == [2, 2, 1]
    expected = {"hr@1": (0.5 + 0.5 + 1) / 3, "hr@2": 1.0, "ndcg@1": 2 / 3, "ndcg@2": (2 * (1 + 0.6309298) / 2 + 1) / 3}
    assert chances(counts, [1, 2]) == pytest.approx({name: expected[name] for name in expected})


def test_shares_of_histories_are_relative() -> None:
    parts = []
    for ratio in ((8.0, 1.0, 1.0), (0.8, 0.1, 0.1)):
        held = ListData(protocol="each", planted=PLANTED, ratio=ratio)
        held.setup()
        parts.append({part: len(stretches.cases) for part, stretches in held.parts.items()})
    assert parts[0] == parts[1]
    assert min(parts[0].values()) > 0
    with pytest.raises(
        UserError, match=r"the dev part is empty: no history is long enough for the ratio \[0.99, 0.005"
    ):
        ListData(protocol="each", planted=PLANTED, ratio=(0.99, 0.005, 0.005)).setup()
