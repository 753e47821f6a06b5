"""What two towers read of features: values' means, beside ids or alone."""

from pathlib import Path

import pytest
import torch
from small_timed import first_stage, fitted, timed

from lightning_vq.backbones.timed.dual_tower import DualTower
from lightning_vq.backbones.timed.feature_tower import FeatureTower
from lightning_vq.errors import UserError
from lightning_vq.modules import TimedFiltering
from lightning_vq.types import Side


def test_features_are_means_of_their_values(tmp_path: Path) -> None:
    first, _ = first_stage(tmp_path)
    data = timed()
    data.setup()
    names, rows = data.features["item"]
    assert all(name.startswith(("leaf=", "group=")) for name in names)
    table = first.tables["item_feature"].detach()
    described = torch.cat([table[rows[3, field, 0]] for field in range(rows.shape[1])])
    side = Side(torch.tensor([0]), torch.tensor([0]), torch.tensor([[3]]).int())
    found = first.backbone.inputs(first.lookup(), "user", side)[0]
    torch.testing.assert_close(found[-len(described) :], described)


def test_a_dual_tower_reads_the_features_that_semantic_ids_are_made_of() -> None:
    data = timed()
    data.setup()
    plain, told = (TimedFiltering(DualTower(4, features=features)) for features in (False, True))
    plain.build(data.facts())
    told.build(data.facts())
    side = Side(torch.tensor([0]), torch.tensor([0]), torch.tensor([[3, 5]]).int())
    for vocab in ("user", "item"):
        short, long = (module.backbone.inputs(module.lookup(), vocab, side) for module in (plain, told))
        features = told.backbone.described.inputs(told.lookup(), vocab, side)
        assert long.shape[1] == short.shape[1] + sum(part.shape[1] for part in features) > short.shape[1]
        torch.testing.assert_close(long[:, short.shape[1] :], torch.cat(features, dim=1))


def test_without_features_the_first_stage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    lines = [f"u{u},i{(u * 7 + k * 3) % 20},{u + 10 * k}" for u in range(20) for k in range(10)]
    path.write_text("user,item,timestamp\n" + "\n".join(lines) + "\n")
    with pytest.raises(UserError, match="reads features, and neither users nor items have any"):
        fitted(TimedFiltering(FeatureTower(8)), timed(source=str(path)), tmp_path)
    (tmp_path / "items.csv").write_text("item,kind\n" + "\n".join(f"i{i},{i % 3}" for i in range(20)) + "\n")
    data = timed(source=str(path), item_file=str(tmp_path / "items.csv"))
    fitted(TimedFiltering(FeatureTower(8), ks=(5,)), data, tmp_path)  # one side's are enough
    assert list(data.facts().features) == ["item"]
