"""ListData: what is refused, in one line."""

from pathlib import Path
from typing import Any

import pytest
from command import refused
from small_lists import listed

from lightning_vq.data import ListData
from lightning_vq.errors import UserError
from lightning_vq.sources.planted import PlantedOptions


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"batch_size": 0}, "data.init_args.batch_size is 0; it must be at least 1"),
        ({"eval_batch_size": 0}, "eval_batch_size is 0; it must be at least 1"),
        ({"min_item": 0}, "min_item is 0; it must be at least 1"),
        ({"negatives": -1}, "negatives is -1; it must be at least 0"),
        ({"eval_negatives": -1}, "eval_negatives is -1; it must be at least 0"),
        ({"min_length": 1}, "min_length is 1; protocol=halves needs lists of 2"),
        ({"min_length": 2, "protocol": "next"}, "min_length is 2; protocol=next needs lists of 3"),
        ({"min_length": 5, "max_length": 4}, "max_length is 4; it must be at least 5"),
        ({"max_length": 0, "protocol": "next"}, "max_length is 0; it must be at least 1"),
        ({"ratio": (0.9, 0.1, 0.0)}, r"ratio is \[0.9, 0.1, 0.0\]; each share must be above 0"),
    ],
)
def test_wrong_options(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        ListData(**options)


@pytest.mark.parametrize(
    ("lists", "options", "expected"),
    [
        (["ab"], {}, "of 1 lists a part is empty with the ratio"),
        (["aa", "aaa"] * 9, {}, "there is one item only, 'a'"),
        (["ab", "ba"], {"min_length": 3}, "no list is left with min_item=1, min_length=3"),
        (["abc", "bca"], {"protocol": "next", "eval_negatives": 0}, "no list has 4 items, of which two"),
        (["abcd", "bca"], {"protocol": "next"}, "user 1 knows all 4 items, so that no negative can be drawn"),
    ],
)
def test_lists_that_do_not_do(tmp_path: Path, lists: list[str], options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        listed(tmp_path, lists, **options)


def test_sources_without_an_order(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 1 2 3 4 5 6\n")
    (tmp_path / "test.txt").write_text("0 7\n")
    with pytest.raises(UserError, match=r"histories need times or positions.*columns\.timestamp=NAME"):
        ListData(str(tmp_path)).setup()
    with pytest.raises(UserError, match="there is no source 'amot'; did you mean 'aotm'"):
        ListData("amot").prepare_data()


def test_info_ends_with_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    line = refused(monkeypatch, capfd, "data", "verify", "aotm", "--root", "nowhere")
    assert line == "error: aotm is not on disk at nowhere/aotm: python -m lightning_vq data download aotm"


def test_ranks_that_would_have_no_list_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    held = ListData(planted=PlantedOptions(users=20, items=30, branching=(2, 2)))
    held.setup()
    monkeypatch.setattr(held, "rank", lambda: (0, 8))
    with pytest.raises(UserError, match="2 held-out lists for 8 ranks"):
        held.test_dataloader()
