"""Studies of real fits on two gloo ranks: same parameters, pruning, and death of any of its processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import begun, done, ended, refused
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from stub import wait_for

from lightning_vq.sweep.study import counted

SIZES = [f"quantization.quantizers.{vocab}.init_args.codebook_sizes" for vocab in ("user", "item")]
SMALL = {
    "data.init_args.planted": {"users": 150, "items": 90, "branching": [4, 3], "mean_length": 12},
    "trainer.accelerator": "cpu",
}


def sweep(root: Path, **changes: Any) -> list[str]:
    """Write a sweep's file and return its command, for Python."""
    fixed = {**SMALL, "trainer.max_epochs": changes.pop("epochs", 3), **changes.pop("fixed", {})}
    fixed["trainer.callbacks"] = [{"class_path": "ranks.Ranks", "init_args": {"slow": str(root / "slow")}}]
    told = {
        "base": ["conf/cove_bprmf.yaml"],
        "fixed": fixed,
        "space": {
            "model.init_args.lr": {"low": 1.0e-3, "high": 1.0e-2, "log": True},
            "sizes": {"keys": SIZES, "depth": {"low": 1, "high": 2}, "first": {"low": 9, "high": 14}, "last": 4},
        },
        "objectives": {"val/ndcg@10/full": "maximize"},
        "root": str(root), **changes,
    }  # fmt: skip
    (root / "small.yaml").write_text(yaml.safe_dump(told))
    return ["-m", "lightning_vq", "sweep", "--config", str(root / "small.yaml")]


@pytest.fixture(autouse=True)
def processes_find_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


def swept(command: list[str], *options: str, expect: int = 0) -> str:
    """Run a sweep to its end in this process, but for its trials; return what it prints."""
    return done(*command[2:], *options, expect=expect)


def storage(root: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(root / "runs/sweeps/small/study.journal")))


def trials(root: Path) -> list[FrozenTrial]:
    return Study("small", storage(root)).trials


def ranks(root: Path, trial: str) -> list[dict[str, Any]]:
    files = sorted(
        (root / "runs/sweeps/small/trials" / trial).glob("rank*.json"), key=lambda path: path.stat().st_mtime
    )
    return [{"rank": path.name[4], **json.loads(path.read_text())} for path in files]


def alive(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_every_rank_of_a_trial_has_its_parameters(tmp_path: Path) -> None:
    swept(sweep(tmp_path, trials=2, devices=2, fixed={"trainer.strategy": "ddp"}))
    found = trials(tmp_path)
    assert [t.state for t in found] == [TrialState.COMPLETE] * 2
    for trial in found:
        both = ranks(tmp_path, f"{trial.number:04}")
        assert sorted(rank["rank"] for rank in both) == ["0", "1"]
        drawn = [trial.params["sizes.first"], 4][: trial.params["sizes.depth"]]
        assert all(rank["lr"] == trial.params["model.init_args.lr"] and rank["sizes"] == drawn for rank in both)
        metrics = json.loads((tmp_path / f"runs/sweeps/small/trials/{trial.number:04}/metrics.json").read_text())
        assert trial.value == metrics["best"]["val/ndcg@10/full"] == max(trial.intermediate_values.values())


def test_a_pruned_trial_ends_on_both_ranks(tmp_path: Path) -> None:
    pruner = {"class_path": "optuna.pruners.ThresholdPruner", "init_args": {"lower": 2.0}}
    command = sweep(tmp_path, trials=2, devices=2, epochs=400, fixed={"trainer.strategy": "ddp_fork"}, pruner=pruner)
    text = swept(command, expect=2)
    assert "2 pruned" in text
    assert "no trial is complete" in text
    for trial in trials(tmp_path):
        assert trial.state == TrialState.PRUNED
        assert len(trial.intermediate_values) == 1
        run = tmp_path / f"runs/sweeps/small/trials/{trial.number:04}"
        assert json.loads((run / "metrics.json").read_text())["state"] == "pruned"
        assert not any(alive(rank["process"]) for rank in ranks(tmp_path, f"{trial.number:04}"))


@pytest.mark.parametrize(("strategy", "rank"), [("ddp_fork", 0), ("ddp", 1)])
def test_a_trial_survives_the_death_of_a_rank(tmp_path: Path, strategy: str, rank: int) -> None:
    (tmp_path / "slow").touch()
    command = sweep(tmp_path, trials=1, devices=2, epochs=8, fixed={"trainer.strategy": strategy})
    with begun(*command) as process:
        wait_for((tmp_path / "runs/sweeps/small/trials/0000/last.ckpt").is_file)
        victim = next(one for one in ranks(tmp_path, "0000") if one["rank"] == str(rank))
        os.kill(victim["process"], signal.SIGKILL)
        (tmp_path / "slow").unlink()
        text = ended(process, 0)
    assert "trial 0 died" in text
    found = trials(tmp_path)
    assert [t.state for t in found] == [TrialState.FAIL, TrialState.COMPLETE]
    assert found[1].params == found[0].params
    assert sorted(found[1].intermediate_values) == list(range(8))
    went_on = [one for one in ranks(tmp_path, "0000") if one["epoch"] > 0]
    assert len(went_on) == 2  # from the last checkpoint, not from the start


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_sweep_leaves_no_orphan_and_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "slow").touch()
    command = sweep(tmp_path, trials=3, parallel=2, epochs=6)
    folder = tmp_path / "runs/sweeps/small/trials"
    with begun(*command) as process:
        wait_for(lambda: (folder / "0000/last.ckpt").is_file() and (folder / "0001/last.ckpt").is_file())
        process.send_signal(number)
        text = ended(process, -signal.SIGKILL if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL:
        assert "To go on: python -m lightning_vq sweep --config" in text
    processes = [one["process"] for trial in ("0000", "0001") for one in ranks(tmp_path, trial)]
    wait_for(lambda: not any(alive(one) for one in processes))
    finished = {t.number: t.value for t in trials(tmp_path) if t.state == TrialState.COMPLETE}
    (tmp_path / "slow").unlink()
    assert "--resume goes on with it" in swept(command, expect=2)
    swept(command, "--resume")
    found = trials(tmp_path)
    kept = counted(Study("small", storage(tmp_path)))
    assert [t.state for t in kept] == [TrialState.COMPLETE] * 3
    assert {n: found[n].value for n in finished} == finished
    assert any(one["epoch"] > 0 for one in ranks(tmp_path, "0000"))


def test_the_best_config_runs(tmp_path: Path) -> None:
    text = swept(sweep(tmp_path, trials=4, parallel=2, fixed={"trainer.max_epochs": 1}))
    best = tmp_path / "runs/sweeps/small/small_best.yaml"
    assert f"Next: python -m lightning_vq fit --config {best}" in text
    assert "optuna-dashboard" in text
    drawn = {
        trial.number
        for trial in trials(tmp_path)
        if (tmp_path / f"runs/sweeps/small/trials/{trial.number:04}/figures/ranking.png").is_file()
    }
    config = yaml.safe_load(best.read_text())
    top = max(trials(tmp_path), key=lambda t: t.value or 0.0)
    assert config["model"]["init_args"]["lr"] == top.params["model.init_args.lr"]
    assert drawn == {top.number}
    assert config["baseline"] is True  # as the base config says
    done("fit", "--config", str(best), "--baseline=false", f"--trainer.default_root_dir={tmp_path}")
    metrics = json.loads((tmp_path / "runs/small_best/1/metrics.json").read_text())
    assert metrics["best"]["val/ndcg@10/full"] == pytest.approx(top.value, abs=1e-6)


def test_wandb_has_a_run_for_each_trial(tmp_path: Path) -> None:
    base = ["conf/cove_bprmf.yaml", "conf/logger/wandb.yaml"]
    fixed = {"trainer.logger.init_args.save_dir": str(tmp_path), "wandb.trees": False, "trainer.max_epochs": 1}
    swept(sweep(tmp_path, base=base, trials=2, parallel=2, fixed=fixed))
    told = []
    for file in tmp_path.glob("wandb/offline-run-*/run-*.wandb"):
        inspect = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(file)]
        lines = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.splitlines()
        told.append(next(record["run"] for record in map(json.loads, lines) if record["type"] == "run"))
    assert sorted(run["display_name"] for run in told) == ["small-0000", "small-0001"]
    assert {run["run_group"] for run in told} == {"small"}
    assert {run["job_type"] for run in told} == {"trial"}
    assert len({run["run_id"] for run in told}) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"model.init_args.lrr": {"low": 0.1, "high": 1.0}}}, "unknown key 'lrr'; did you mean 'lr'?"),
        ({"space": {"model.init_args.lr": {"choices": ["fast"]}}}, "'model.init_args.lr' = fast: "),
        ({"space": {SIZES[0]: {"depth": 1, "first": {"low": 9, "high": 900}, "last": 4}}}, "= [900]: "),
        ({"base": ["conf/cove_bprm.yaml"]}, "there is no config conf/cove_bprm.yaml"),
        ({"objectives": {"val/ndcg@11/full": "maximize"}}, "did you mean 'val/ndcg@10/full'?"),
        ({"objectives": {"test/ndcg@10/full": "maximize"}}, "test metrics choose nothing"),
        ({"objectives": {"bytes": "minimize"}}, "the first objective chooses each trial's best epoch"),
        ({"fixed": {"baseline": True}}, "fixed: baseline is not given here"),
        ({"fixed": {"model.init_args.lr": 0.1}}, "'model.init_args.lr' and fixed both set model.init_args.lr"),
        ({"space": {"monitor": {"choices": ["val/hr@10/full"]}}}, "space: 'monitor': monitor is not given here"),
        ({"objectives": {"val/ndcg@10/full": "minimize"}}, "it must be maximize"),
        (
            {"objectives": {"val/ndcg@10/full": "maximize", "val/hr@9/full": "maximize"}},
            "'val/hr@9/full' is not a validation",
        ),
        ({"fixed": {"trainer.accelerator": "gpu"}}, "gpu"),
        ({"trials": None}, "trials and hours are both null"),
        ({"trials": 0}, "trials is 0; it must be at least 1"),
        ({"seeds": [1, 1]}, "seeds [1, 1] holds one twice"),
        ({"trails": 3}, "did you mean 'trials'?"),
    ],
)
def test_a_mistake_is_one_line_before_the_first_trial(
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert message in refused(monkeypatch, capfd, *sweep(tmp_path, **changes)[2:])
    assert not (tmp_path / "runs").exists()


def test_a_mistake_ends_the_process_with_status_two(tmp_path: Path) -> None:
    with begun(*sweep(tmp_path, base=["conf/cove_bprm.yaml"])) as process:
        text = ended(process, 2)
    assert text.count("error: ") == len(text.strip().splitlines()) == 1


def test_the_process_of_the_study_has_no_torch() -> None:
    code = "import sys, lightning_vq.sweep.command; print(sorted({'torch', 'lightning'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
