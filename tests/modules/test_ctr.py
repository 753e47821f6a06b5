"""Click-through rate trained on a small table: it learns, and what it does not know stays out of its codes."""

import inspect
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from clicks import ITEMS, SCHEMA, USERS, click_file, clicks, fitted, small_dcn, trainer_of
from discovery import discovered
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from small import cascaded, data, weights

import lightning_vq.backbones.ctr as family
from lightning_vq.backbones.base import Backbone
from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.backbones.ctr.dcn import DCN
from lightning_vq.callbacks import QuantizationCallback
from lightning_vq.callbacks.interrupt import Interrupt
from lightning_vq.callbacks.predictions import Predictions
from lightning_vq.data import ClickThroughData
from lightning_vq.data.splits import DEV, TEST, TRAIN
from lightning_vq.errors import UserError
from lightning_vq.modules import ClickThroughRate, CollaborativeFiltering, Recommender
from lightning_vq.quantizers import Cascaded, LowRank
from lightning_vq.sources.schema import Schema
from lightning_vq.specs import describe
from lightning_vq.types import Facts, Quantized, Samples, cut

QUANTIZERS = {"user": cascaded, "item": cascaded}
TWO = {"strategy": "ddp_fork", "devices": 2}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return click_file(tmp_path_factory.mktemp("clicks"))


@pytest.fixture(scope="module")
def learned(path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ClickThroughRate, Trainer, Path]:
    """Return a quantized module that was trained for long enough, its trainer and its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    saving = ModelCheckpoint(folder, "one", save_on_train_epoch_end=True)
    module, trainer = fitted(clicks(path), QUANTIZERS, epochs=12, callbacks=[saving])
    return module, trainer, folder / "one.ckpt"


def samples(path: Path, part: int = TEST) -> Samples:
    held = clicks(path)
    held.setup()
    assert held.encoded is not None
    return held.encoded.samples[part]


@torch.no_grad()
def logits(module: Recommender, batch: Samples) -> torch.Tensor:
    scores = module.eval().backbone(module.lookup(), batch).scores
    assert scores is not None
    return scores


# -- it learns ---------------------------------------------------------------------------------------------------------


def one_hot(batch: Samples) -> np.ndarray:
    users, items = (np.eye(rows + 1)[batch.fields[:, i]] for i, rows in enumerate((USERS, ITEMS)))
    return np.hstack([users, items, batch.numbers.numpy()])


def test_it_learns_what_a_sum_over_fields_cannot(path: Path, learned: tuple[ClickThroughRate, Trainer, Path]) -> None:
    module, trainer, _ = learned
    train, test = samples(path, TRAIN), samples(path)
    floor = LogisticRegression().fit(one_hot(train), train.labels).predict_proba(one_hot(test))[:, 1]
    least = roc_auc_score(test.labels, floor)
    (found,) = trainer.test(module, datamodule=clicks(path), verbose=False)
    assert 0.5 < least < 0.7
    assert found["test/auc"] > 0.8 > least + 0.1
    chances = torch.sigmoid(logits(module, test).double())
    assert found["test/auc"] == pytest.approx(roc_auc_score(test.labels, chances), abs=1e-6)  # logged as float32
    assert found["test/logloss"] == pytest.approx(log_loss(test.labels, chances), abs=1e-6)
    assert found["test/ece"] < 0.15
    assert found["test/logloss"] < log_loss(test.labels, floor)
    (found,) = trainer.validate(module, datamodule=clicks(path), verbose=False)
    dev = samples(path, DEV)
    assert found["val/auc"] == pytest.approx(roc_auc_score(dev.labels, logits(module, dev)), abs=1e-6)


def test_metrics_by_group_are_those_of_its_rows(path: Path, learned: tuple[ClickThroughRate, Trainer, Path]) -> None:
    module, trainer, _ = learned
    held = clicks(path)
    (found,) = trainer.test(module, datamodule=held, verbose=False)
    assert held.encoded is not None
    users, test = held.encoded.samples[TEST].groups, held.encoded.samples[TEST]
    assert users is not None
    scores, areas, sizes, gains = logits(module, test), [], [], {}
    for user in sorted(set(users.tolist())):
        labels, mine = test.labels[users == user].numpy(), scores[users == user].numpy()
        if 0 < labels.sum() < len(labels):
            areas.append(roc_auc_score(labels, mine))
            sizes.append(len(labels))
        if labels.any():
            hits = labels[np.lexsort((labels, -mine))][:5]
            ideal = sum(1 / math.log2(place + 2) for place in range(min(5, int(labels.sum()))))
            gains[user] = sum(hit / math.log2(place + 2) for place, hit in enumerate(hits)) / ideal
    assert found["test/gauc/user"] == pytest.approx(np.average(areas, weights=sizes), abs=1e-6)
    assert found["test/ndcg@5/user"] == pytest.approx(np.mean(list(gains.values())), abs=1e-6)
    cases, by_user = module.tested(held)
    assert held.encoded.group_ids is not None
    names = held.encoded.group_ids.to_pylist()
    assert by_user["user"].to_pylist() == [names[user] for user in gains]
    assert by_user["ndcg@5/user"].tolist() == pytest.approx(list(gains.values()), abs=1e-6)
    clicked = dict(zip(test.cases.tolist(), zip(users.tolist(), test.labels.tolist())))
    assert len(cases["row"]) == int(test.labels.sum())
    for case, user in zip(cases["row"].to_pylist(), cases["user"].to_pylist()):
        assert (names[clicked[case][0]], clicked[case][1]) == (user, 1)


def test_rows_of_no_group_count_in_no_group(path: Path, tmp_path: Path) -> None:
    table = pq.read_table(path)
    users = [None if i % 5 == 0 else user for i, user in enumerate(table["user"].to_pylist())]
    other = tmp_path / "gaps.parquet"
    pq.write_table(table.append_column("who", [users]), other)
    held = clicks(other, schema=replace(SCHEMA, group="who"))
    module, trainer = fitted(held, epochs=1)
    (found,) = trainer.test(module, datamodule=held, verbose=False)
    assert held.encoded is not None
    groups, test = held.encoded.samples[TEST].groups, held.encoded.samples[TEST]
    assert groups is not None
    there = groups >= 0
    assert 0 < (~there).sum() < 100
    scores, areas, sizes = logits(module, test), [], []
    for group in set(groups[there].tolist()):
        labels = test.labels[groups == group]
        if 0 < labels.sum() < len(labels):
            areas.append(roc_auc_score(labels, scores[groups == group]))
            sizes.append(len(labels))
    assert found["test/gauc/who"] == pytest.approx(np.average(areas, weights=sizes), abs=1e-6)
    cases, by_user = module.tested(held)
    assert sorted(cases["row"].to_pylist()) == test.cases[there & (test.labels > 0)].tolist()
    assert all(users[row] == user for row, user in zip(cases["row"].to_pylist(), cases["user"].to_pylist()))
    assert len(by_user["user"]) == len(set(groups[there & (test.labels > 0)].tolist()))


@pytest.mark.parametrize("rows", [1, 2])
def test_a_test_of_a_single_row_is_a_test(tmp_path: Path, rows: int) -> None:
    lines = [f"u{n % 3},i{n % 4},{n % 2},train" for n in range(12)] + ["u0,i0,1,dev", "u0,i1,0,dev"]
    (tmp_path / "t.csv").write_text("\n".join(["user,item,click,part", *lines, *["u1,i1,1,test"] * rows, ""]))
    schema = Schema(["user", "item"], label="click", split="part", group="user")
    held = clicks(tmp_path / "t.csv", schema=schema)
    module, trainer = fitted(held, epochs=1)
    (found,) = trainer.test(module, datamodule=held, verbose=False)
    assert math.isnan(found["test/auc"])
    assert 0 < found["test/logloss"] < 2
    assert len(module.tested(held)[0]["user"]) == rows


def test_a_part_of_one_label_cannot_choose_an_epoch(tmp_path: Path) -> None:
    lines = [f"u{n % 3},i{n % 4},{n % 2},train" for n in range(12)] + ["u0,i0,1,dev", "u0,i1,1,dev", "u1,i1,1,test"]
    (tmp_path / "t.csv").write_text("\n".join(["user,item,click,part", *lines, ""]))
    held = clicks(tmp_path / "t.csv", schema=Schema(["user", "item"], label="click", split="part"))
    with pytest.raises(UserError, match=r"t\.csv: all 2 rows of the dev part have the label 1$"):
        held.setup()


# -- what training has not seen ----------------------------------------------------------------------------------------


def built(path: Path, quantizers: dict[str, Any] | None = None, **options: Any) -> ClickThroughRate:
    held = clicks(path)
    held.setup()
    torch.manual_seed(0)
    module = ClickThroughRate(small_dcn(), **options)
    module.build(held.facts())
    QuantizationCallback(quantizers or {}).attach(module)
    return module


def of_known(batch: Samples, module: Recommender) -> torch.Tensor:
    """Return which rows have only what training has."""
    assert module.facts is not None
    rows = torch.tensor([module.facts.rows["user"], module.facts.rows["item"]])
    return (batch.fields < rows).all(1) & (batch.sequences[:, 0] < rows[1]).all(1)


def test_the_row_outside_learns_only_where_it_is_met(path: Path) -> None:
    module, batch = built(path), samples(path)
    with torch.no_grad():
        for table in (*module.tables.values(), *module.outside.values()):
            table.normal_()
    known = of_known(batch, module)
    assert 20 < (~known).sum() < known.sum()
    for rows, met in ((known, False), (~known, True)):
        module.zero_grad()
        module.step_losses(cut(batch, rows), [])["task"].backward()
        for name in ("user", "item"):
            gradient = module.outside[name].grad
            assert gradient is not None  # DDP waits for all
            assert bool(gradient.any()) == met, name
    # By hand: the rows outside get what a table with one row more would.
    module.zero_grad()
    module.step_losses(batch, [])["task"].backward()
    whole = {name: torch.cat([t, module.outside[name]]).detach().requires_grad_() for name, t in module.tables.items()}

    class Plain:
        def __call__(self, name: str, ids: torch.Tensor) -> torch.Tensor:
            return whole[name][ids.long()]

    output = module.backbone(Plain(), batch)
    module.task_loss(output, batch).backward()
    for name, table in whole.items():
        assert table.grad is not None
        torch.testing.assert_close(module.outside[name].grad, table.grad[-1:])
        torch.testing.assert_close(module.tables[name].grad, table.grad[:-1])


def test_training_moves_the_row_outside_only_where_values_are_missing(path: Path) -> None:
    train = samples(path, TRAIN)
    assert (train.fields[:, 0] < USERS).all()
    assert 20 < (train.fields[:, 1] == ITEMS).sum() < 100
    module, _ = fitted(clicks(path), epochs=1)
    assert not module.outside["user"].any()
    assert module.outside["item"].abs().min() > 0


def test_a_quantizer_never_meets_what_training_has_not(path: Path) -> None:
    module, batch = built(path, QUANTIZERS), samples(path)
    asked: dict[str, list[torch.Tensor]] = {"user": [], "item": []}
    for name, quantizer in module.quantizers.items():
        quantizer.forward = partial(spied, quantizer.forward, asked[name])  # type: ignore[method-assign]
    look = module.lookup()
    module.backbone(look, batch)
    users, items = batch.fields.unbind(1)
    listed = batch.sequences[batch.sequences >= 0]
    assert (users >= USERS).any()
    assert (items >= ITEMS).any()
    expected = {"user": [users], "item": [items, listed]}
    for name, rows in (("user", USERS), ("item", ITEMS)):
        seen = [ids[ids < rows] for ids in expected[name]]
        assert [ids.tolist() for ids in asked[name]] == [torch.unique(ids).tolist() for ids in seen]
        quantizer, ids = module.quantizers[name], torch.cat(seen)
        alone = built(path, QUANTIZERS).quantizers[name](module.tables[name][ids], ids)
        codebook, commitment = look.losses(name)  # means over what is known alone
        torch.testing.assert_close(codebook, alone.codebook.mean())
        torch.testing.assert_close(commitment, alone.commitment.mean())
        with pytest.raises(IndexError):
            look.codes(name, torch.tensor([rows]))
        assert quantizer.rows == rows == len(look.rows(name))


def spied(forward: Any, asked: list[torch.Tensor], vectors: torch.Tensor, ids: torch.Tensor) -> Quantized:
    asked.append(ids)
    made: Quantized = forward(vectors, ids)
    return made


def test_a_batch_of_strangers_alone(path: Path) -> None:
    module, batch = built(path, QUANTIZERS), samples(path)
    fields = torch.tensor([[USERS, ITEMS]]).expand(len(batch.labels), 2)
    strange = batch._replace(fields=fields, sequences=torch.full_like(batch.sequences, -1))
    look = module.lookup()
    module.task_loss(module.backbone(look, strange), strange).backward()
    assert all(loss.item() == 0 for name in QUANTIZERS for loss in look.losses(name))
    for name in QUANTIZERS:
        assert not module.tables[name].grad.any()
        assert module.outside[name].grad is not None
    changed = built(path, QUANTIZERS)
    with torch.no_grad():
        for book in changed.quantizers.parameters():
            book.add_(1.0)
    assert torch.equal(logits(module, strange), logits(changed, strange))
    assert not torch.equal(logits(module, batch), logits(changed, batch))


# -- quantizers of no weight -------------------------------------------------------------------------------------------


def made(kind: type[Backbone]) -> Backbone:
    """Return a narrow backbone whose own weights are always the same."""
    torch.manual_seed(1)
    narrow = {"hidden": (16,), "first_hidden": (16,), "second_hidden": (16,)}
    return kind(dim=8, **{key: value for key, value in narrow.items() if key in inspect.signature(kind).parameters})


@pytest.mark.parametrize("kind", discovered(family, Backbone))
def test_no_weight_on_quantization_is_bit_equal_to_the_base_model(kind: type[Backbone], path: Path) -> None:
    factory = partial(Cascaded, codebook_sizes=[12, 4], alpha=0.0)
    base, _ = fitted(clicks(path), backbone=partial(made, kind))
    nothing, _ = fitted(clicks(path), {"user": factory, "item": factory}, partial(made, kind), omega_q=0.0)
    quantized, _ = fitted(clicks(path), QUANTIZERS, partial(made, kind), epochs=1)
    assert set(nothing.quantizers) == {name for name, spec in base.specs.items() if spec.quantizable} == set(QUANTIZERS)
    for name, value in weights(base).items():
        assert torch.equal(value, weights(nothing)[name]), name
    assert not torch.equal(quantized.tables["item"], base.tables["item"])


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_a_checkpoint_opens_alone(path: Path, learned: tuple[ClickThroughRate, Trainer, Path]) -> None:
    module, _, saved = learned
    opened = Recommender.load_from_checkpoint(saved)
    assert isinstance(opened, ClickThroughRate)
    assert opened.facts is not None
    assert opened.facts.fields == {"user": "user", "item": "item"}
    for batch in (samples(path), samples(path, DEV)):
        assert torch.equal(logits(opened, batch), logits(module, batch))
    assert describe(opened.quantizers["user"]) == describe(module.quantizers["user"])


def test_data_that_has_changed_is_refused(path: Path, tmp_path: Path, learned: Any) -> None:
    table = pq.read_table(path)
    pq.write_table(table.slice(50).append_column("more", [[0] * (len(table) - 50)]), tmp_path / "clicks.parquet")
    module = Recommender.load_from_checkpoint(learned[2])
    with pytest.raises(UserError, match=r"number their .* differently: the data has changed"):
        trainer_of().test(module, datamodule=clicks(tmp_path / "clicks.parquet"), verbose=False)


class Ask(Callback):
    """Asks for a stop, as Ctrl-C does, at a mini-batch."""

    def __init__(self, interrupt: Interrupt, left: int) -> None:
        self.interrupt, self.left = interrupt, left

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.left -= 1
        self.interrupt.asked = self.interrupt.asked or self.left == 0


@pytest.mark.parametrize("stop", [5, 19, 25])  # of 19 mini-batches an epoch
def test_a_run_that_was_stopped_goes_on_bit_for_bit(path: Path, tmp_path: Path, stop: int) -> None:
    dropping = partial(DCN, dim=8, cross_layers=1, hidden=(16,), dropout=0.2)
    whole, whole_trainer = fitted(clicks(path), QUANTIZERS, dropping, epochs=3)
    assert len(whole_trainer.train_dataloader) == 19
    interrupt = Interrupt(tmp_path)
    saving = ModelCheckpoint(tmp_path, save_last=True, save_on_train_epoch_end=True)
    with pytest.raises(SystemExit):
        fitted(clicks(path), QUANTIZERS, dropping, epochs=3, callbacks=[Ask(interrupt, stop), interrupt, saving])
    resumed, trainer = fitted(clicks(path), QUANTIZERS, dropping, epochs=3, ckpt_path=str(tmp_path / "last.ckpt"))
    assert trainer.global_step == whole_trainer.global_step == 57
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


# -- predictions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [{}, TWO], ids=["one process", "two"])
def test_predict_writes_each_test_row_once(path: Path, tmp_path: Path, learned: Any, ranks: dict[str, Any]) -> None:
    module = Recommender.load_from_checkpoint(learned[2])
    trainer = trainer_of([Predictions(tmp_path)], **ranks)
    trainer.predict(module, datamodule=clicks(path, eval_batch_size=50), return_predictions=False)
    found, test = pq.read_table(tmp_path / "predictions.parquet"), samples(path)
    table = pq.read_table(path)
    rows = [i for i, part in enumerate(table["part"].to_pylist()) if part == "test"]
    assert found.column_names == ["row", "chance", "label"]
    assert found["row"].to_pylist() == rows == test.cases.tolist()
    assert found["label"].to_pylist() == table["click"].take(rows).to_pylist()
    chances = torch.sigmoid(logits(module, test))
    assert found["chance"].to_pylist() == pytest.approx(chances.tolist(), abs=1e-6)


# -- ranks -------------------------------------------------------------------------------------------------------------


def test_two_ranks_measure_what_one_does(path: Path, learned: Any) -> None:
    assert len(samples(path).labels) % 2  # shares differ
    found = []
    for ranks in ({}, TWO):
        module = Recommender.load_from_checkpoint(learned[2])
        trainer = trainer_of(**ranks)
        found += trainer.test(module, datamodule=clicks(path, eval_batch_size=64), verbose=False)
    one, two = found
    assert set(one) == set(two)
    assert two == pytest.approx(one, abs=1e-9)


def test_two_ranks_train_as_one_process_at_the_same_global_batch(path: Path) -> None:
    # Without a quantizer on items: its losses are means over what a rank looks up, and lists are of any length.
    exact: dict[str, Any] = {"precision": "64-true", "limit_train_batches": 18, "epochs": 4}
    one, alone = fitted(clicks(path), {"user": cascaded}, **exact)
    two, trainer = fitted(clicks(path, batch_size=64), {"user": cascaded}, **exact, **TWO)
    assert (trainer.world_size, alone.world_size) == (2, 1)
    for name, value in weights(one).items():
        theirs = weights(two)[name]  # float32: it came back from the rank
        torch.testing.assert_close(theirs, value.to(theirs.dtype), atol=1e-6, rtol=1e-5)
    ours, theirs = (
        {name: float(value) for name, value in of.callback_metrics.items() if name.startswith("loss/")}
        for of in (alone, trainer)
    )
    assert set(ours) == {"loss/task", "loss/quantization", "loss/commitment"}
    assert theirs == pytest.approx(ours, abs=1e-9)
    assert 0 < float(trainer.callback_metrics["val/auc"]) <= 1


def test_ranks_whose_batches_differ_in_what_they_know(path: Path) -> None:
    held = clicks(path, batch_size=100)
    module, trainer = fitted(held, QUANTIZERS, epochs=2, **TWO)  # a parameter that a rank leaves out would stop it
    assert held.encoded is not None
    assert len(held.encoded.samples[TRAIN].labels) % 200  # nor does an uneven last mini-batch
    assert float(trainer.callback_metrics["val/auc"]) > 0.5
    assert module.outside["item"].any()


# -- real categories ---------------------------------------------------------------------------------------------------

OF = torch.full((ITEMS, 2), -1)
OF[0], OF[1], OF[3] = torch.tensor([2, 0]), torch.tensor([1, -1]), torch.tensor([0, -1])  # the others have none


def with_categories(path: Path, place: str, quantizers: dict[str, Any]) -> ClickThroughRate:
    """Return a module whose items have categories, vectors of both drawn at a scale at which they differ."""
    held = clicks(path)
    held.setup()
    facts: Facts = held.facts()
    facts = facts._replace(rows=facts.rows | {"item_category": 3}, categories={"item": OF})
    torch.manual_seed(0)
    module = ClickThroughRate(small_dcn(), categories={"item": place})  # type: ignore[dict-item]
    module.build(facts)
    with torch.no_grad():
        for table in module.tables.values():
            table.normal_()
    QuantizationCallback(quantizers).attach(module)
    return module


def means(module: ClickThroughRate) -> torch.Tensor:
    """Return the mean of each item's categories (N, D), by hand."""
    vectors, found = module.tables["item_category"].detach(), torch.zeros(ITEMS, 8)
    found[0], found[1], found[3] = (vectors[2] + vectors[0]) / 2, vectors[1], vectors[0]
    return found


@pytest.mark.parametrize("place", ["before", "after"])
def test_categories_are_added_to_vectors(path: Path, place: str) -> None:
    module, ids = with_categories(path, place, {}), torch.tensor([[0, 1], [2, 3], [ITEMS, 0]])
    whole = torch.cat([module.tables["item"].detach() + means(module), module.outside["item"].detach()])
    look = module.lookup()
    torch.testing.assert_close(look("item", ids), whole[ids])
    torch.testing.assert_close(module.lookup().all("item"), whole[:-1])
    look("item", ids).sum().backward()
    expected = torch.tensor([1.0, 1.0, 1.0])[:, None] * torch.tensor([2 * 0.5 + 1, 1, 2 * 0.5])[:, None]
    torch.testing.assert_close(module.tables["item_category"].grad, expected.expand(3, 8))
    torch.testing.assert_close(look("user", torch.tensor([4])), module.tables["user"][4:5])


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_quantizer_gets_categories_before_it_or_after(path: Path, place: str) -> None:
    module, ids = with_categories(path, place, {"item": cascaded}), torch.tensor([0, 1, 2, 3, 7])
    own, more, quantizer = module.tables["item"].detach(), means(module), module.quantizers["item"]
    given = own + more if place == "before" else own
    look = module.lookup()
    torch.testing.assert_close(look.raw("item", ids), given[ids])
    torch.testing.assert_close(module.table("item").weight, given)  # what it starts from
    assert torch.equal(look.codes("item", ids), quantizer.encode(given[ids], ids))
    expected = quantizer.combine(given[ids], quantizer(given[ids], ids).vectors)
    expected = expected if place == "before" else expected + more[ids]
    torch.testing.assert_close(look("item", ids), expected)
    codebook, _ = look.losses("item")
    torch.testing.assert_close(codebook, quantizer(given[ids], ids).codebook.mean())
    torch.testing.assert_close(module.lookup().all("item")[ids], expected)


def test_a_checkpoint_keeps_categories(path: Path, tmp_path: Path) -> None:
    module = with_categories(path, "after", {"item": cascaded})
    trainer = trainer_of()
    trainer.strategy.connect(module)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    opened = Recommender.load_from_checkpoint(tmp_path / "one.ckpt")
    assert opened.categories == {"item": "after"}
    assert torch.equal(logits(opened, samples(path)), logits(module, samples(path)))


def test_categories_that_cannot_be(path: Path) -> None:
    with pytest.raises(UserError, match="categories names 'item', but of the data's categories it knows none"):
        built(path, categories={"item": "before"})
    low = partial(LowRank, rank=2)
    with_categories(path, "after", {"item": low})
    with pytest.raises(
        UserError,
        match=r"LowRank stands for the table 'item', so that model\.init_args\.categories\.item must be 'after'",
    ):
        with_categories(path, "before", {"item": low})


# -- what does not go together -----------------------------------------------------------------------------------------


def test_models_and_data_of_different_tasks(path: Path) -> None:
    ctr, cf = ClickThroughRate(small_dcn()), CollaborativeFiltering(BPRMF())
    for module, held, told in (
        (ctr, data(), "ClickThroughRate is trained on ClickThroughData, not CollaborativeData"),
        (cf, clicks(path), "CollaborativeFiltering is trained on CollaborativeData, not ClickThroughData"),
    ):
        with pytest.raises(UserError) as caught:
            module.check(held)
        assert str(caught.value) == told
        with pytest.raises(UserError) as caught:
            trainer_of(max_epochs=1).fit(module, datamodule=held)
        assert str(caught.value) == told
    for module, held, told in (
        (ClickThroughRate(BPRMF()), clicks(path), "BPRMF needs ['pairs'], but the data provides ['features']"),
        (CollaborativeFiltering(small_dcn()), data(), "DCN needs ['features'], but the data provides ['pairs', "),
    ):
        with pytest.raises(UserError) as caught:
            trainer_of(max_epochs=1).fit(module, datamodule=held)
        assert str(caught.value).startswith(told)
        assert "\n" not in str(caught.value)


def test_settings_of_the_model_that_cannot_be() -> None:
    for options, told in (
        ({"ks": ()}, "ks is []; it must name one or more, each once"),
        ({"ks": (0,)}, "ks is [0]; all must be at least 1"),
        ({"metrics": ("hr", "hr")}, "metrics is ['hr', 'hr']; it must name one or more, each once"),
        ({"bins": 0}, "bins is 0; it must be at least 1"),
    ):
        with pytest.raises(UserError) as caught:
            ClickThroughRate(small_dcn(), **options)
        assert str(caught.value) == f"model.init_args.{told}"


def test_what_may_choose_the_epoch(path: Path) -> None:
    module = ClickThroughRate(small_dcn(), metrics=("ndcg",), ks=(5,))
    assert module.monitors(clicks(path)) == ["val/auc", "val/gauc/user", "val/ndcg@5/user"]
    plain = ClickThroughData(str(path), schema=Schema(["user"], label="click"))
    assert module.monitors(plain) == ["val/auc"]
