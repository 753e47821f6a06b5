"""Every command of README and guide runs as it stands, on less training; and their Python runs too."""

import contextlib
import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import done, refused, run

from lightning_vq.__main__ import main
from lightning_vq.sweep.settings import read_settings
from lightning_vq.sweep.space import read_space

PAGES = [Path("README.md"), *sorted(Path("docs/guide").glob("*.md")), Path("docs/reproduce.md")]
BLOCKS = {page: re.findall(r"```(\w*)\n(.*?)```", page.read_text(), flags=re.DOTALL) for page in PAGES}
COMMANDS = {
    page: [line for kind, text in blocks if not kind for line in text.splitlines() if line.startswith("python -m")]
    for page, blocks in BLOCKS.items()
}
LESS = {
    "fit": ["--trainer.max_epochs=2", "--trainer.enable_progress_bar=false"],
    "data": [],
    "tree": [],
    "compare": [],
    "predict": ["--trainer.enable_progress_bar=false"],
    "test": ["--trainer.enable_progress_bar=false"],
    "validate": ["--trainer.enable_progress_bar=false"],
    "sweep": ["--trials=2"],
    "reproduce": ["--report"],
    "dashboards": [],
    "export": [],
    "encode": [],
    "chain": ["--trainer.max_epochs=2", "--trainer.enable_progress_bar=false"],
    "recommend": [],
}
SMALL = "--data.init_args.planted={users: 300, items: 150, branching: [4, 3], mean_length: 12}"


def stories() -> list[list[Path]]:
    """Return pages whose commands run in one folder, in order: those about the README's run go with it."""
    of_readme = [page for page in PAGES if any("runs/cove_lgcn/1" in command for command in COMMANDS[page])]
    alone = [[page] for page in PAGES if COMMANDS[page] and page not in [*of_readme, PAGES[0]]]
    return [[PAGES[0], *of_readme], *alone]


def test_there_are_commands_of_every_verb() -> None:
    assert {shlex.split(command)[3] for commands in COMMANDS.values() for command in commands} == set(LESS)


def less(command: str) -> list[str]:
    """Return the arguments of a command with such as make it short."""
    arguments = shlex.split(command)[3:]
    arguments += LESS[arguments[0]]
    if arguments[0] not in ("fit", "chain") or "--run" in arguments:
        return arguments
    if not any(own in command for own in ("plays.csv", "judged.csv", "ml-100k", "vectors.parquet")):
        arguments += [SMALL]
    if arguments[0] == "chain":
        return arguments
    if command != COMMANDS[PAGES[0]][0] and not re.search(
        "cove_dcn|plays.csv", command
    ):  # a base model for one command of each task
        arguments += ["--baseline=false"]
    return arguments


def of_its_own(command: str) -> bool:
    """Return whether a command needs a process of its own: Lightning starts it again as a second rank, W&B stays."""
    return "wandb" in command or "conf/strategy" in command


@pytest.mark.parametrize("pages", stories(), ids=lambda pages: pages[0].stem)
def test_every_command(pages: list[Path], tmp_path: Path) -> None:
    root = Path.cwd()
    (tmp_path / "conf").symlink_to(root / "conf")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "evidence").symlink_to(root / "docs" / "evidence")  # settings tuned before, that a plan takes
    (tmp_path / "sweeps").mkdir()
    for path in (root / "sweeps").glob("*.yaml"):  # a sweep has options of its own: its trials are made small here
        small = "fixed: {trainer.max_epochs: 1, data.init_args.planted: " + SMALL.partition("=")[2] + ", "
        text = path.read_text().replace("fixed: {trainer.max_epochs: 80, ", small)
        (tmp_path / "sweeps" / path.name).write_text(text)
    rows = [f"listener {u},track {(u * 7 + i * 13) % 97},{1000 * u + i}" for u in range(120) for i in range(8)]
    (tmp_path / "plays.csv").write_text("listener,track,played_at\n" + "\n".join(rows) + "\n")
    rows = [f"app {n % 17},app {n % 23},{(n * 37) % 201 - 100}" for n in range(17 * 23)]
    (tmp_path / "judged.csv").write_text("app,other,relevance\n" + "\n".join(rows) + "\n")
    for name, count in (("vectors", 200), ("new", 3)):
        numbers = np.random.default_rng(count).normal(size=(count, 64)).tolist()
        pq.write_table(
            pa.table({"item": [f"{name} {n}" for n in range(count)], "vector": numbers}), tmp_path / f"{name}.parquet"
        )
    for page in pages:
        for name, text in re.findall(
            r"`(\w+\.yaml)` is yours:\n\n```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL
        ):
            (tmp_path / name).write_text(text)
        for command in COMMANDS[page]:
            if "ml-100k" in command and "LIGHTNING_VQ_DATA" not in os.environ:
                continue  # would download
            if of_its_own(command):
                run(*less(command), folder=tmp_path, WANDB_API_KEY="")
            else:
                done(*less(command), folder=tmp_path)
        for code in [text for kind, text in BLOCKS[page] if kind == "python"]:
            with contextlib.chdir(tmp_path):
                exec(compile(code, str(page), "exec"), {})
    if pages[0] == PAGES[0]:
        assert len(pages) == 3
        assert (tmp_path / "runs" / "cove_lgcn" / "1" / "recommendations.parquet").is_file()


@pytest.mark.parametrize("page", [page for page in PAGES if not COMMANDS[page]], ids=lambda page: page.stem)
def test_python_alone(page: Path) -> None:
    for code in [text for kind, text in BLOCKS[page] if kind == "python"]:
        exec(compile(code, str(page), "exec"), {})


YAML = [text for blocks in BLOCKS.values() for kind, text in blocks if kind == "yaml"]


@pytest.mark.parametrize("text", [text for text in YAML if text.startswith("data:")])
def test_yaml_is_data(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "told.yaml").write_text(text)
    said = refused(monkeypatch, capfd, "fit", "--config", "conf/dcn.yaml", "--config", str(tmp_path / "told.yaml"))
    assert "no file at clicks.parquet" in said


@pytest.mark.parametrize("text", [text for text in YAML if text.startswith("base:")])
def test_yaml_is_a_sweep(text: str, tmp_path: Path) -> None:
    (tmp_path / "told.yaml").write_text(text)
    settings, _, _ = read_settings(["--config", str(tmp_path / "told.yaml")])
    assert [parameter.name for parameter in read_space(settings.space)] == list(settings.space)


@pytest.mark.parametrize("text", [text for text in YAML if text.startswith("model:")])
def test_yaml_is_a_config(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "told.yaml").write_text(text)
    monkeypatch.setattr(sys, "argv", ["lightning_vq", "fit", "--config", str(tmp_path / "told.yaml"), "--print_config"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert "codebook_sizes" in capsys.readouterr().out


@pytest.mark.parametrize(
    "page",
    [*PAGES, Path("docs/results.md"), Path("docs/reproduction.md"), Path("CONTRIBUTING.md")],
    ids=lambda page: page.stem,
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), target
