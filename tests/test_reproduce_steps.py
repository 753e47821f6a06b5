"""Parts of a paper that are commands, or another part: each command runs once, and what it leaves is not another's."""

import json
import re
import shlex
import signal
import time
from pathlib import Path

import pytest
from command import begun, done, ended, refused

from lightning_vq.reproduce.files import every_name
from lightning_vq.reproduce.paper import read_paper
from lightning_vq.reproduce.steps import read_steps

PARTS = [name for name in every_name() if read_steps(name) is not None]
PRINTS = "{run: python -m lightning_vq data info planted, prints: planted.txt}"
DRAWS = "{run: 'python -m lightning_vq data info planted --figure {out}/f.png', makes: f.png}"


def written(folder: Path, *steps: str) -> str:
    path = folder / "mine.yaml"
    path.write_text("title: Mine\nsteps:\n" + "".join(f"  - {step}\n" for step in steps))
    return str(path)


def test_every_part_of_the_papers_is_there() -> None:
    papers = {
        "cage": [*(f"table{n}" for n in range(1, 9)), "figure4", "figure5", "appendix_d", "appendix_f"],
        "cove": [*(f"table{n}" for n in range(2, 6)), *(f"figure{n}" for n in range(3, 6))],
        "dqrec": [*(f"table{n}" for n in range(1, 4)), "figure3", "figure4"],
        "mgqe": [*(f"table{n}" for n in range(3, 7)), "figure4", *(f"figure{n}" for n in range(6, 9))],
    }
    assert {f"{paper}/{part}" for paper, parts in papers.items() for part in parts} <= set(every_name())


def test_the_documented_steps(tmp_path: Path) -> None:
    _, text = re.findall(r"```yaml\n(.*?)```", Path("docs/reproduce.md").read_text(), flags=re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    part = read_steps(str(tmp_path / "mine.yaml"))
    assert part is not None
    assert [step.target for step in part.steps] == ["often.png", "ml-1m.txt"]


@pytest.mark.parametrize("name", PARTS)
def test_a_shipped_part_is_of_what_there_is(name: str) -> None:
    other = read_steps(name)
    assert other is not None
    if other.same_as is not None:
        assert read_steps(other.same_as) is not None or read_paper(other.same_as)[1].rows
    for step in other.steps:
        what = shlex.split(step.run)
        if what[1].endswith(".py"):
            assert Path(what[1]).is_file()
        else:
            assert what[1:3] == ["-m", "lightning_vq"]
        for config in (word for word in what if word.startswith("conf/")):
            assert Path(config).exists()


def test_commands_run_once(tmp_path: Path) -> None:
    table, out = written(tmp_path, PRINTS, DRAWS), ("--out", str(tmp_path / "out"))
    assert done("reproduce", table, *out, "--report").count("Not run: ") == 2
    assert done("reproduce", table, *out).count("Written: ") == 2
    folder = tmp_path / "out" / "mine"
    assert "1,000" in (folder / "planted.txt").read_text()
    assert (folder / "f.png").read_bytes()[1:4] == b"PNG"
    assert set(json.loads((folder / "steps.json").read_text())) == {"planted.txt", "f.png"}
    again = done("reproduce", table, *out)
    assert again.count("There already: ") == 2
    assert "Written" not in again


MAKES = """import pathlib, sys
folder = pathlib.Path(sys.argv[1]) / "run"
folder.mkdir(exist_ok=(pathlib.Path(sys.argv[1]) / "again").exists())
(folder / "told").write_text("half")
(pathlib.Path(sys.argv[1]) / "again").write_text("")
sys.exit(0 if sys.argv[2:] else 3)
"""


def test_a_command_that_makes_its_own_folder_and_is_stopped_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "make.py").write_text(MAKES)
    out = ("--out", str(tmp_path / "a folder's"))
    step = f"{{run: 'python {tmp_path}/make.py {{out}}', makes: run/told}}"
    assert "status 3" in refused(monkeypatch, capfd, "reproduce", written(tmp_path, step), *out)
    (tmp_path / "make.py").write_text(MAKES.replace("3)", "0)"))
    said = done("reproduce", written(tmp_path, step), *out)
    assert "Written: " in said
    assert done("reproduce", written(tmp_path, step), *out).endswith("told\n")
    (tmp_path / "make.py").write_text(MAKES + "# another")
    said = done("reproduce", written(tmp_path, step), *out)
    assert f"run/told (made before {tmp_path}/make.py changed: move it away to make it anew)\n" in said


def test_what_another_command_made_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", str(tmp_path / "out"))
    done("reproduce", written(tmp_path, PRINTS), *out)
    changed = written(tmp_path, PRINTS.replace("planted,", "planted --min-user 2,"))
    assert "another command" in refused(monkeypatch, capfd, "reproduce", changed, *out)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{run: python -c 'raise SystemExit(3)', prints: a.txt}", "ended with status 3"),
        ("{run: python -m lightning_vq data list, makes: a.txt}", "has left no"),
        ("{run: python -m lightning_vq data list}", "needs makes or prints"),
        ("{run: rm -rf x, makes: a.txt}", "begin with python"),
        ("{run: python -V, maks: a.txt}", "maks"),
    ],
)
def test_bad_steps(
    step: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", str(tmp_path / "out"))
    assert said in refused(monkeypatch, capfd, "reproduce", written(tmp_path, step), *out)
    assert not (tmp_path / "out" / "mine" / "a.txt").exists()


def test_data_that_is_not_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTNING_VQ_DATA", str(tmp_path))
    step = PRINTS.replace("}", ", source: ml-1m}")
    told = done("reproduce", written(tmp_path, step), "--out", str(tmp_path / "out"))
    assert "Not run: " in told
    assert "data download ml-1m" in told


def test_a_part_of_commands_has_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for option in (["--rows", "a"], ["--seeds", "1"], ["--parallel", "2"], ["--smoke"]):
        said = refused(monkeypatch, capfd, "reproduce", written(tmp_path, PRINTS), *option)
        assert f"{option[0]}: " in said
        assert "commands, not rows" in said


SLOW = """import pathlib, signal, sys, time
def stop(*_):
    time.sleep(1)  # what it has to save
    (folder / "saved").write_text("")
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
folder = pathlib.Path(sys.argv[1])
(folder / "ready").write_text("")
time.sleep(60)
"""


def test_a_command_that_is_stopped_has_the_time_to_save(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    table = written(tmp_path, f"{{run: 'python {tmp_path}/slow.py {{out}}', makes: done}}")
    folder = tmp_path / "out" / "mine"
    with begun("-m", "lightning_vq", "reproduce", table, "--out", str(tmp_path / "out")) as process:
        while not (folder / "ready").exists() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        ended(process, 130)
    assert (folder / "saved").exists()
    assert json.loads((folder / "steps.json").read_text())["done"]["state"] == "begun"


def test_what_came_of_every_part_is_told() -> None:
    told: list[str] = []
    for line in Path("docs/reproduction.md").read_text().splitlines():
        if re.match(r"\| [a-z]+/", line):
            for name in line.split("|")[1].strip().split(", "):
                told.append(name if "/" in name else f"{told[-1].partition('/')[0]}/{name}")
    assert sorted(told) == every_name()
