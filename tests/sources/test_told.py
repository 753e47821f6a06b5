"""`data info` tells from when to when interactions are, and what is in a file of lists."""

from pathlib import Path

import pytest

from lightning_vq import data_command
from lightning_vq.errors import UserError

DAYS = 1_700_000_000, 1_700_000_000 + 3 * 86_400  # from 2023-11-14


@pytest.mark.parametrize(
    ("head", "times", "told"),
    [
        (",timestamp", DAYS, "2023-11-14 to 2023-11-17"),
        (",timestamp", [1000 * at for at in DAYS], "2023-11-14 to 2023-11-17"),
        (",timestamp", (3, 17), "3 to 17"),
        (",timestamp", (*DAYS, -55_787_270_400), "0202-03-05 to 2023-11-17; 1 of them before 1990 or after 2099"),
        (",timestamp", (*DAYS, 10**15), "2023-11-14 to 1000000000000000; 1 of them before 1990 or after 2099"),
        ("", ("", ""), "none: the order of the rows"),
    ],
)
def test_dates_where_times_are_of_a_calendar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: str, times: list[int], told: str
) -> None:
    path = tmp_path / "log.csv"
    rows = [f"u{i},i{i}" + (f",{at}" if head else "") for i, at in enumerate(times)]
    path.write_text("\n".join([f"user,item{head}", *rows]) + "\n")
    data_command.main(["info", str(path)])
    out = capsys.readouterr().out
    assert f"times     {told}\n" in out
    assert f"{len(times)} users have fewer than 3, which split=leave_one_out refuses: min_user=3 drops them\n" in out


def test_options_of_files_are_refused_of_named_sources() -> None:
    for option in (["--columns", "{user: a}"], ["--duplicates", "last"]):
        with pytest.raises(UserError, match="says nothing of ml-100k; what does: --min-user, --min-item, --figure"):
            data_command.main(["info", "ml-100k", *option])
    for option, value, told in (
        ("--columns", "{user: 3}", "must map roles to columns"),
        ("--max-length", "0", "must be a number of 1 or more, not '0'"),
    ):
        with pytest.raises(UserError, match=told):
            data_command.main(["info", "planted", option, value])


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        ("list,position,item", []),
        ("list,item,note", []),
        ("list,item,user", []),
        ("a,b,c", ["--columns", "{list: a, position: b, item: c}"]),
    ],
)
def test_a_file_of_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str], head: str, columns: list[str]) -> None:
    path = tmp_path / "lists.csv"
    rows = [f"l{one},{(one + 3 * at) % 7},{at}" for one in range(4) for at in range(3 * one + 1)]
    path.write_text("\n".join([head, *rows]) + "\n")
    data_command.main(["info", str(path), *columns])
    out = capsys.readouterr().out
    assert f"file      {path}\n" in out
    assert "before    4 lists, " in out
    assert "a list    1 to 10 items, median 5" in out  # of 1, 4, 7, 10
    data_command.main(["info", str(path), *columns, "--min-length", "5", "--max-length", "6"])
    assert "(min_item=1, min_length=5, max_length=6)" in capsys.readouterr().out
    with pytest.raises(UserError, match="--min-user says nothing of"):
        data_command.main(["info", str(path), *columns, "--min-user", "2"])


def test_options_of_lists_are_not_for_logs() -> None:
    with pytest.raises(UserError, match="--max-length says nothing of planted; what does: --min-user"):
        data_command.main(["info", "planted", "--max-length", "5"])


@pytest.mark.parametrize(("head", "columns"), [("item,related,score", []), ("app,other,relevance", ["app", "other"])])
def test_a_file_of_scored_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: str, columns: list[str]
) -> None:
    (tmp_path / "pairs.csv").write_text(f"{head}\na,b,-1\na,c,3\nb,c,4\n")
    given = ["--columns", "{item: app, related: other, score: relevance}"] if columns else []
    data_command.main(["info", str(tmp_path / "pairs.csv"), *given])
    assert capsys.readouterr().out.splitlines()[1:] == [
        "holds     2 items, 2 related ones, 3 scored pairs",
        "scores    -1 to 4, mean 2, deviation 2.16",
    ]
    with pytest.raises(UserError, match="--min-user says nothing of"):
        data_command.main(["info", str(tmp_path / "pairs.csv"), *given, "--min-user", "2"])
    (tmp_path / "log.csv").write_text("user,item,related\na,b,x\nc,d,y\n")  # a log that has a column of that name
    data_command.main(["info", str(tmp_path / "log.csv")])
    assert "2 interactions" in capsys.readouterr().out
