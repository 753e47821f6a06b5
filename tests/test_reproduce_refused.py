"""Tables with mistakes: each is told before anything trains, and what one row's data refuses stops no other."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from command import refused
from small_table import LR, TABLE, reproduce, table

from lightning_vq.errors import UserError
from lightning_vq.reproduce.paper import read_paper


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rows", "quantised"), "--rows 'quantised' matches no row"),
        (("--budget", "papr"), "did you mean 'paper'?"),
        (("--seeds", "0"), "--seeds is 0; it must be at least 1"),
        (("--hours", "-1"), "hours is -1; it must be above 0"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(TABLE))
    command = ["reproduce", str(tmp_path / "small.yaml"), "--out", str(tmp_path / "out"), *options]
    assert message in refused(monkeypatch, capfd, *command)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": None}, "title"),
        ({"columms": {"a": "b"}}, "unknown key 'columms'; did you mean 'columns'?"),
        ({"rows": [{"name": "a", "get": "x"}, {"name": "A", "get": "x"}]}, "two have one name"),
        ({"rows": [{"name": "a", "get": "x", "over": "b"}]}, "over 'b' is no earlier row"),
        ({"rows": [{"name": "a", "get": "x", "paper": {"N@1": 0.1}}]}, "'N@1' is no column; did you mean 'N@10'?"),
        ({"rows": [{"name": "a", "gett": "x"}]}, "rows[0]: unknown key 'gett'; did you mean 'get'?"),
        ({"rows": [{"name": "a"}]}, "needs either source, or get"),
        ({"rows": [{"name": "a", "source": "planted", "refit_of": "b"}]}, "refit_of 'b' is no earlier row"),
        ({"rows": [TABLE["rows"][0], {**TABLE["rows"][2], "base": ["x"]}]}, "its base and fixed are those of 'Base'"),
        ({"rows": [{"name": "a", "source": "planted"}]}, "needs one of base, chain and refit_of"),
        ({"columns": {"x": "ndcg@10"}}, "column 'x': 'ndcg@10' is neither test/METRIC@K/PROTOCOL nor one of"),
        ({"budgets": {}}, "needs at least one budget"),
        ({"sweep": {}}, "one of sweep's objectives"),
    ],
)
def test_a_table_that_cannot_be(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({**TABLE, **change}))
    with pytest.raises(UserError) as error:
        read_paper(str(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_a_row_that_its_data_refuses_stops_no_other(tmp_path: Path) -> None:
    bad = {**TABLE["rows"][3], "name": "Bad", "fixed": {"data.init_args.min_user": 9999}}
    text = reproduce(tmp_path, "--seeds", "1", expect=2, table={**TABLE, "rows": [bad, TABLE["rows"][3]]})
    assert "error: 1 of 2 rows could not run: Bad" in text
    assert table(tmp_path)[("Bad", "N@10")]["verdict"].startswith("failed: planted: no interaction is left")
    assert table(tmp_path)[("Fixed", "N@10")]["n"] == "1"


def test_all_that_is_wrong_with_a_table_is_told_before_anything_trains(tmp_path: Path) -> None:
    good, wide = TABLE["rows"][3], {"model.init_args.ks": [10, 20]}
    rows = [
        {**good, "fixed": wide},
        {**good, "name": "File", "base": ["conf/gmff.yaml"]},
        {**good, "name": "Key", "fixed": {**wide, "model.init_args.lrr": 1}},
        {**good, "name": "Space", "fixed": wide, "space": {"model.init_args.lr": {"low": -1.0, "high": 1.0}}},
        {**good, "name": "Both", "fixed": {**wide, "model.init_args.lr": 0.1}, "space": LR},
        {"name": "Refit", "source": "planted", "refit_of": "Both"},
        {**good, "name": "Column"},
        {**good, "name": "Protocol", "fixed": {**wide, "data.init_args.eval_protocols": ["sampled"]}},
        {**TABLE["rows"][5], "name": "Far", "base": ["conf/absent.yaml"]},  # nor is its data at hand
        {
            **TABLE["rows"][5],
            "name": "Far, of clicks",
            "source": "mind-small",
            "base": ["conf/dcn.yaml"],
        },  # not fetched
    ]
    told = {**TABLE, "rows": rows, "columns": {"N@10": "test/ndcg@10/full", "C@20": "test/coverage@20/full"}}
    why = {
        "File": "there is no config conf/gmff.yaml",
        "Key": "unknown key 'lrr'; did you mean 'lr'?",
        "Space": "lr is -1.0",
        "Both": "space: 'model.init_args.lr' and fixed both set model.init_args.lr",
        "Refit": "space: 'model.init_args.lr' and fixed both set model.init_args.lr",
        "Column": "column 'C@20': its runs will have no 'test/coverage@20/full'; give model.init_args.ks in its fixed",
        "Protocol": "column 'N@10': its runs will have no 'test/ndcg@10/full'; give data.init_args.eval_protocols",
        "Far": "there is no config conf/absent.yaml",
    }
    for options in ((), ("--report",)):
        text = reproduce(tmp_path, *options, expect=2, table=told)
        for name, part in why.items():
            (line,) = [line for line in text.splitlines() if line.startswith(f"{name}: ")]
            assert part in line
        assert f"error: 8 of 10 rows cannot run, and nothing was trained: {', '.join(why)}" in text
        assert table(tmp_path)[("Fixed", "N@10")]["verdict"] == "not run"
        assert table(tmp_path)[("Far, of clicks", "N@10")]["verdict"].startswith("not at hand")
        assert table(tmp_path)[("Key", "N@10")]["verdict"].startswith("failed: ")
    assert not list(tmp_path.rglob("runs"))
