"""Parts of a paper that are no fits to be tuned and compared: another part's rows, or commands that print or draw."""

import os
import shlex
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def run_steps(name: str, part: Steps, asked: Asked) -> Ran:
    """Run the commands whose files are missing, and say where all are.

    Raises:
        UserError: a command failed, or a file is there that another command has made.
    """
    folder = asked.out / part_name(part_file(name))
    record = folder / "steps.json"
    begun: dict[str, dict[str, Any]] = read_json(record) if record.is_file() else {}  # {target: {run, state, files}}
    for step in part.steps:
        if (folder / step.target).exists() and begun.get(step.target, {}).get("run") != step.run:
            raise UserError(f"{folder / step.target} was made by another command than {step.run!r}: move it away")
    for line in (part.title, part.about):
        print(line)
    done = absent = 0
    for step in part.steps:
        target = folder / step.target
        if target.exists() and begun[step.target]["state"] == "finished":
            made_of = begun[step.target].get("files", {})
            other = [file for file, now in step.files().items() if made_of.get(file, now) != now]
            told = f" (made before {', '.join(other)} changed: move it away to make it anew)" if other else ""
            print(f"There already: {target}{told}")
            done += 1
            continue
        missing = Row("", source=step.source).at_hand(None) if step.source is not None else None
        absent += missing is not None
        if asked.report or missing or asked.deadline.over:
            print(f"Not run: {target}" + (f" ({missing})" if missing else ""))
            continue
        folder.mkdir(parents=True, exist_ok=True)
        # If it is stopped it goes on where its command can.
        begun[step.target] = {"run": step.run, "state": "begun", "files": step.files()}
        write_json(record, begun)
        with asked.deadline.interrupting():
            _run(step, folder)
            begun[step.target]["state"] = "finished"
        write_json(record, begun)
        if begun[step.target]["state"] == "finished":
            print(f"Written: {target}", flush=True)
            done += 1
        else:
            print(f"Not run to its end: {target}", flush=True)
    return Ran(done, len(part.steps), absent, 0.0, [], folder)


def _run(step: Step, folder: Path) -> None:
    words = [word.replace(OUT, str(folder)) for word in shlex.split(step.run)]
    command = [sys.executable, *words[1:]]
    print(f"\n{shlex.join(words)}", flush=True)
    status, printed = run_in_child(command, kept=step.prints is not None)
    print(printed, end="")
    if status in (130, -signal.SIGINT):  # of ours, or of a script without a handler
        raise KeyboardInterrupt
    if status:
        raise UserError(f"{step.run!r} ended with status {status}; see above")
    if step.prints is not None:
        with replacing(folder / step.prints) as path:
            path.write_text(printed)
    elif not (folder / step.target).exists():
        raise UserError(f"{step.run!r} has left no {folder / step.target}")
