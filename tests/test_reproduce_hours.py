"""The end of the hours: what runs saves and goes on with the same command."""

import contextlib
import os
import signal
import time
from pathlib import Path
from threading import Thread

import pytest
import yaml
from command import done
from small_table import TABLE, reproduce, table

from lightning_vq.reproduce import deadline
from lightning_vq.reproduce.deadline import Deadline
from lightning_vq.runs import read_json


def test_the_end_of_the_hours_interrupts_and_goes_on_behind() -> None:
    short, began = Deadline(0.05 / 3600), time.time()
    with short.interrupting():
        time.sleep(60)
    assert short.over
    assert time.time() - began < 50
    with pytest.raises(KeyboardInterrupt), Deadline(1).interrupting():
        signal.raise_signal(signal.SIGINT)  # the user's own is not swallowed
    assert not Deadline().over
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_the_hours_end_where_a_shell_ignores_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as `sh -c "... &"` does
    try:
        began = time.time()
        with Deadline(0.05 / 3600).interrupting():
            time.sleep(60)
        assert time.time() - began < 50
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_end_of_the_hours_rings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "AGAIN", 0.05)
    began = time.time()
    with Deadline(0.05 / 3600).interrupting():
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(60)
        time.sleep(60)
    assert time.time() - began < 50


def test_a_command_that_the_hours_end(tmp_path: Path) -> None:
    step = {"run": "python -c 'import time; time.sleep(600)'", "prints": "late.txt"}
    path = tmp_path / "slow.yaml"
    path.write_text(yaml.safe_dump({"title": "Slow", "steps": [step]}))
    began = time.time()
    told = done("reproduce", str(path), "--hours", str(2 / 3600), "--out", str(tmp_path / "out"))
    assert time.time() - began < 500
    assert "Not run: " in told
    assert "hours are over" in told


def test_a_fit_that_the_hours_end_goes_on_later(tmp_path: Path) -> None:
    """The hours end when a fit has saved its first epoch: the clock's own signal is sent by hand."""
    slow = {**TABLE, "budgets": {"small": {"trials": 1, "fixed": {"trainer.max_epochs": 60, "patience": None}}}}
    fit = tmp_path / "out/small/small/fixed/runs/sweeps/seeds-1/trials/0000"

    def ring() -> None:
        while not (fit / "last.ckpt").is_file():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGALRM)

    Thread(target=ring, daemon=True).start()
    options = ["--rows", "Fixed", "--hours", "1"]
    told = reproduce(tmp_path, *options, table=slow)
    assert "1 hours are over" in told
    assert table(tmp_path)["Fixed", "N@10"]["verdict"] == "not run"
    begun = (fit / "metrics.csv").read_text().splitlines()
    assert len(begun) > 1
    reproduce(tmp_path, *options, table=slow)
    assert (fit / "metrics.csv").read_text().splitlines()[: len(begun)] == begun  # and not the first epochs anew
    assert read_json(fit / "metrics.json")["epochs"] == 60 > len(begun) - 1
    assert table(tmp_path)["Fixed", "N@10"]["n"] == "1"
