"""Every command of the README runs as it stands, on less training; and its Python runs too."""

import contextlib
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import done, refused, run

from lightning_vq.sweep.settings import read_settings
from lightning_vq.sweep.space import read_space

README = Path("README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if not kind for line in text.splitlines() if line.startswith("python -m")]
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
SERVED = {model: f"python -m lightning_vq fit --config conf/{model}.yaml" for model in ("mgqe_bprmf", "sasrec")}
(VECTORS,) = (command for command in COMMANDS if "vectors.parquet" in command)
SMALL = "--data.init_args.planted={users: 300, items: 150, branching: [4, 3], mean_length: 12}"


def test_there_are_commands_of_every_verb() -> None:
    assert {shlex.split(command)[3] for command in COMMANDS} == set(LESS)


def stories() -> dict[str, list[str]]:
    """Return commands that need one another, in order, by the first of them; most stand alone."""
    parts: dict[str, list[str]] = {}
    for command in COMMANDS:
        shared = next((what for what in ("runs/cove_lgcn/1", "sweeps/", "ml-100k") if what in command), command)
        if "sasrec" in command or "served_lists" in command:
            shared = SERVED["sasrec"]
        elif "2_patterns" in command:
            shared = VECTORS
        elif "mgqe_bprmf" in command or "served" in command:
            shared = SERVED["mgqe_bprmf"]
        parts.setdefault(COMMANDS[0] if shared == "runs/cove_lgcn/1" else shared, []).append(command)
    return {commands[0]: commands for commands in parts.values()}


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
    if command != COMMANDS[0] and "cove_dcn" not in command:  # a base model is trained for one command of each task
        arguments += ["--baseline=false"]
    return arguments


@pytest.mark.parametrize("first", list(stories()), ids=lambda command: command.partition("lightning_vq ")[2])
def test_every_command(first: str, tmp_path: Path) -> None:
    root = Path.cwd()
    (tmp_path / "conf").symlink_to(root / "conf")
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
    commands = stories()[first]
    for command in commands:
        if "ml-100k" in command and "LIGHTNING_VQ_DATA" not in os.environ:
            continue  # would download
        arguments = less(command)
        if arguments[0] == "fit" and first != COMMANDS[0] and "wandb" not in command:
            done(*arguments, folder=tmp_path)
        else:
            run(*arguments, folder=tmp_path, WANDB_API_KEY="")
    if "mgqe_bprmf" in first:
        with contextlib.chdir(tmp_path):
            (code,) = [text for kind, text in BLOCKS if kind == "python" and "served" in text]
            exec(compile(code, "README.md", "exec"), {})
    if first == COMMANDS[0]:
        assert len(commands) > 5
        assert (tmp_path / "runs" / "cove_lgcn" / "1" / "recommendations.parquet").is_file()


@pytest.mark.parametrize("code", [text for kind, text in BLOCKS if kind == "python" and "served" not in text])
def test_python(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {})


YAML = [text for kind, text in BLOCKS if kind == "yaml"]


@pytest.mark.parametrize("text", [text for text in YAML if text.startswith("data:")])
def test_yaml_is_data(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "told.yaml").write_text(text)
    said = refused(monkeypatch, capfd, "fit", "--config", "conf/dcn.yaml", "--config", str(tmp_path / "told.yaml"))
    assert "no file at clicks.parquet" in said


@pytest.mark.parametrize("text", [text for text in YAML if not text.startswith("data:")])
def test_yaml_is_a_sweep(text: str, tmp_path: Path) -> None:
    (tmp_path / "told.yaml").write_text(text)
    settings, _, _ = read_settings(["--config", str(tmp_path / "told.yaml")])
    assert [parameter.name for parameter in read_space(settings.space)] == list(settings.space)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or Path(target).exists(), target
