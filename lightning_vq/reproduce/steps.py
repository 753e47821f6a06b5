"""Parts of a paper that are no fits to be tuned and compared: another part's rows, or commands that print or draw."""

import os
import shlex
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lightning_vq.child import run_in_child
from lightning_vq.errors import UserError
from lightning_vq.messages import SettingsParser
from lightning_vq.reproduce.files import digests, part_file, part_name
from lightning_vq.reproduce.paper import Row
from lightning_vq.reproduce.table import Asked, Ran
from lightning_vq.runs import read_json, read_yaml, replacing, write_json

OUT = "{out}"  # of a command: the folder of results


@dataclass
class Step:
    """A command of a part, run once.

    Args:
        run: a command that begins with python; `{out}` in it is the folder of results.
        makes: file in that folder that it leaves.
        prints: file in that folder in which what it prints is kept; in place of `makes`.
        source: data set that it needs.
    """

    run: str
    makes: str | None = None
    prints: str | None = None
    source: str | None = None

    @property
    def target(self) -> str:
        return self.makes or self.prints or ""

    def files(self) -> dict[str, str]:
        """Return digests of the files and folders that its command names, such as configs and scripts."""
        words = shlex.split(self.run)
        words += [word.partition("=")[2] for word in words if word.startswith("-")]
        return digests([word for word in words if "/" in word], os.path.exists)


@dataclass
class Steps:
    """A part that is made by commands, or that is another part.

    Args:
        title: paper and number.
        about: what a reader must know.
        same_as: name of the part with the same runs.
        steps: the commands, in order.
    """

    title: str
    about: str = ""
    same_as: str | None = None
    steps: list[Step] = field(default_factory=list)

    def check(self) -> None:
        if bool(self.same_as) == bool(self.steps):
            raise UserError("a part without columns needs either same_as or steps")
        for step in self.steps:
            if (step.makes is None) == (step.prints is None) or not step.run.startswith("python "):
                raise UserError(f"step {step.run!r} needs makes or prints, and to begin with python")


def read_steps(name: str) -> Steps | None:
    """Return what a part says that is no table; None of a table.

    Raises:
        UserError: there is no such part, or it says what none may.
    """
    path = part_file(name)
    told = read_yaml(path)
    if not isinstance(told, dict) or not {"same_as", "steps"} & set(told):
        return None
    parser = SettingsParser()
    parser.add_class_arguments(Steps, as_group=False)
    try:
        plain = parser.parse_object(told).as_dict()
        made = Steps(**{**plain, "steps": [Step(**step) for step in plain["steps"]]})
        made.check()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return made


def run_steps(name: str, part: Steps, asked: Asked) -> None:
    """Run the commands whose files are missing, unless another process is at it, and say where all are.

    Raises:
        UserError: a command failed, or a file is there that another command has made.
    """
    folder = _folder(name, asked.out)
    for line in (part.title, part.about):
        print(line)
    if asked.report:
        tell_steps(name, part, asked.out)
        return
    lock, made = folder / "runs" / ".lock", list[str]()
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0), asked.deadline.interrupting():
            for step in part.steps:
                if not asked.deadline.over and _state(step, folder) != "finished" and _missing(step) is None:
                    _make(step, folder)
                    made.append(step.target)
                    print(f"Written: {folder / step.target}", flush=True)
    except Timeout:
        print("another process is at it; passed over")
    tell_steps(name, part, asked.out, made)


def tell_steps(
    name: str, part: Steps, out: Path, told: Collection[str] = (), say: Callable[[str], None] = print
) -> tuple[Path, Ran]:
    """Say where the files of a part are, but for some that were told, and return their folder and how many there are.

    Raises:
        UserError: a file is there that another command has made.
    """
    folder = _folder(name, out)
    done = absent = 0
    for step in part.steps:
        target, missing = folder / step.target, _missing(step)
        if _state(step, folder) == "finished":
            made_of = _begun(folder)[step.target].get("files", {})
            other = [file for file, now in step.files().items() if made_of.get(file, now) != now]
            older = f" (made before {', '.join(other)} changed: move it away to make it anew)" if other else ""
            if step.target not in told:
                say(f"There already: {target}{older}")
            done += 1
        else:
            say(f"Not run: {target}" + (f" ({missing})" if missing else ""))
            absent += missing is not None
    return folder, Ran(done, len(part.steps), absent, 0.0)


def _folder(name: str, out: Path) -> Path:
    return out / part_name(part_file(name))


def _missing(step: Step) -> str | None:
    """Return None, or how to get the data of a step."""
    return Row("", source=step.source).at_hand(None) if step.source is not None else None


def _begun(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what was begun in a folder: {target: {run, state, files}}."""
    record = folder / "steps.json"
    return read_json(record) if record.is_file() else {}


def _state(step: Step, folder: Path) -> str:
    """Return whether a step is finished, begun or neither.

    Raises:
        UserError: its file was made by another command.
    """
    there, begun = (folder / step.target).exists(), _begun(folder).get(step.target, {})
    if there and begun.get("run") != step.run:
        raise UserError(f"{folder / step.target} was made by another command than {step.run!r}: move it away")
    return str(begun["state"]) if there else ""


def _make(step: Step, folder: Path) -> None:
    """Run a command; if it is stopped it goes on where it can."""
    told = {"run": step.run, "files": step.files()}
    write_json(folder / "steps.json", {**_begun(folder), step.target: {**told, "state": "begun"}})
    printed = _run(step, folder)
    write_json(folder / "steps.json", {**_begun(folder), step.target: {**told, "state": "finished"}})
    print(printed, end="")  # once it is kept: who reads it may be gone


def _run(step: Step, folder: Path) -> str:
    """Return what was printed, if it was to be kept."""
    words = [word.replace(OUT, str(folder)) for word in shlex.split(step.run)]
    command = [sys.executable, *words[1:]]
    print(f"\n{shlex.join(words)}", flush=True)
    status, printed = run_in_child(command, kept=step.prints is not None)
    if status:
        print(printed, end="")
    if status == 130:
        raise KeyboardInterrupt
    if status:
        raise UserError(f"{step.run!r} ended with status {status}; see above")
    if step.prints is not None:
        with replacing(folder / step.prints) as path:
            path.write_text(printed)
    elif not (folder / step.target).exists():
        raise UserError(f"{step.run!r} has left no {folder / step.target}")
    return printed
