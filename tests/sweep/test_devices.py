"""Handing out devices: never one to two trials, whichever process asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_vq.sweep.devices import Devices, threads


def test_no_device_is_given_twice(tmp_path: Path) -> None:
    names = ["0", "1", "GPU-8a/2"]
    here, there = Devices(names, tmp_path), Devices(names, tmp_path)
    first = here.take(2)
    assert first == ["0", "1"]
    assert here.take(2) is None
    assert there.take(2) is None
    assert there.take(1) == ["GPU-8a/2"]
    assert here.take(1) is None
    here.give_back(first)
    assert there.take(2) == ["0", "1"]


def test_a_dead_process_holds_none(tmp_path: Path) -> None:
    code = f"from lightning_vq.sweep.devices import Devices; from pathlib import Path; import os\n" \
           f"print(Devices(['0'], Path({str(tmp_path)!r})).take(1), flush=True); os.kill(os.getpid(), 9)"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "['0']\n"
    assert Devices(["0"], tmp_path).take(1) == ["0"]


def test_threads_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    assert threads(10_000, 1) == 1
    assert (threads(1, 1), threads(2, 1), threads(2, 2)) == (8, 4, 2)


@pytest.mark.parametrize(("asked", "given"), [("1", 1), ("3", 3), ("16", 4), ("2,1", 2), ("", 4), ("0", 4), ("all", 4)])
def test_no_more_threads_than_asked_for(monkeypatch: pytest.MonkeyPatch, asked: str, given: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads(2, 1) == given
