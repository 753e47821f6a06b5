"""What does not go together in click-through rate is told in one line, as are settings that cannot be."""

from pathlib import Path

import pytest
from clicks import clicks, small_dcn, trainer_of
from small import data

from lightning_vq.backbones.collaborative.bprmf import BPRMF
from lightning_vq.data import ClickThroughData
from lightning_vq.errors import UserError
from lightning_vq.modules import ClickThroughRate, CollaborativeFiltering
from lightning_vq.sources.schema import Schema


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
