"""What a study leaves behind: the best config as a runnable YAML, figures, and a summary."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState

from lightning_vq.runs import read_json, read_yaml, replacing, write_json
from lightning_vq.sweep.settings import Settings
from lightning_vq.sweep.space import short
from lightning_vq.sweep.study import Study, counted


def best_trials(study: Study) -> list[FrozenTrial]:
    """Return the best trial, or those of the Pareto front by the first objective; none if none is complete."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return []
    front = study.best_trials
    numbers = {trial.user_attrs.get("same_as", trial.number) for trial in front}  # a twin tells nothing new
    kept = [trial for trial in front if trial.number in numbers]
    sign = -1 if study.directions[0].name == "MAXIMIZE" else 1
    kept = sorted(kept or front[:1], key=lambda trial: sign * trial.values[0])
    return kept if len(study.directions) > 1 else kept[:1]


def write_outcome(settings: Settings, study: Study, baseline: bool, wall_seconds: float) -> list[Path]:
    """Write best.yaml, summary.json, figures and the study's pages, and return the paths.

    Args:
        settings: of the sweep.
        study: with at least one complete trial.
        baseline: what the base config says, for best.yaml: a trial trains no base model.
        wall_seconds: of this worker, added to those of earlier ones.
    """
    written = []
    best = best_trials(study)
    for i, trial in enumerate(best):
        path = settings.folder / ("best.yaml" if len(best) == 1 else f"best{i + 1}.yaml")
        source = _run_folder(trial, settings) / "config.yaml"
        if source.is_file():  # else it was run on another machine, whose worker writes it
            title = f"trial {trial.number} of study {settings.name}: {_told(trial, settings)}"
            _write_config(path, source, baseline, title)
            written.append(path)
    write_json(settings.folder / "summary.json", _summary(settings, study, best, wall_seconds))
    written.append(settings.folder / "summary.json")
    return written + list(_figures(settings, study))


def _run_folder(trial: FrozenTrial, settings: Settings) -> Path:
    folder = Path(trial.user_attrs["folder"])
    return folder if len(settings.seeds) == 1 else folder / f"seed{settings.seeds[0]}"


def _told(trial: FrozenTrial, settings: Settings) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in zip(settings.objectives, trial.values))


def _write_config(path: Path, source: Path, baseline: bool, title: str) -> None:
    config = read_yaml(source)
    config["baseline"] = baseline
    config["trainer"]["enable_progress_bar"] = None
    with replacing(path) as temporary:
        temporary.write_text(f"# {title}\n{yaml.safe_dump(config, sort_keys=False)}")


def _summary(settings: Settings, study: Study, best: list[FrozenTrial], wall_seconds: float) -> dict[str, Any]:
    trials = counted(study)
    path = settings.folder / "summary.json"
    earlier = read_json(path)["wall_seconds"] if path.is_file() else 0.0
    return {
        "study": settings.name,
        "objectives": settings.objectives,
        "trials": {state.name.lower(): sum(t.state == state for t in trials) for state in TrialState},
        "wall_seconds": earlier + wall_seconds,
        "trial_seconds": sum(t.duration.total_seconds() for t in trials if t.duration),
        **{name: sum(t.user_attrs.get(name, 0.0) for t in trials) for name in ("fit_seconds", "train_seconds")},
        "best": [
            {"trial": t.number, "values": t.values, "each_seed": t.user_attrs.get("each_seed"), "params": t.params,
             "folder": str(_run_folder(t, settings))}
            for t in best
        ],
    }  # fmt: skip


def _figures(settings: Settings, study: Study) -> Iterator[Path]:
    """Draw what there is enough to draw of, each as PNG and as a page that opens without a network."""
    import optuna.visualization as pages  # slow to import, needed once
    import optuna.visualization.matplotlib as pictures

    drawn = _legible(study)
    complete = drawn.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = list(settings.objectives)
    plots: list[tuple[str, Callable[..., Any], Callable[..., Any], dict[str, Any]]] = []
    both: tuple[Callable[..., Any], Callable[..., Any]]
    for i, (name, how) in enumerate(settings.objectives.items()):
        one = {"target": None if len(names) == 1 else partial(_value, i, 1.0), "target_name": name}
        # What makes an objective *good*: of several, Optuna takes low for good.
        good = None if len(names) == 1 else partial(_value, i, -1.0 if how == "maximize" else 1.0)
        suffix = "" if len(names) == 1 else f"_{name.replace('/', '_')}"
        if len(complete) > 3 and _varied(complete) and any(get_param_importances(drawn, target=good).values()):
            both = (pages.plot_param_importances, pictures.plot_param_importances)
            plots.append((f"importance{suffix}", *both, {**one, "target": good}))
        if len(complete) > 1:
            both = (pages.plot_parallel_coordinate, pictures.plot_parallel_coordinate)
            plots.append((f"parallel_coordinate{suffix}", *both, one))
    if len(names) == 1:
        both = (pages.plot_optimization_history, pictures.plot_optimization_history)
        plots.append(("history", *both, {"target_name": names[0]}))
    elif len(names) <= 3:
        plots.append(("pareto_front", pages.plot_pareto_front, pictures.plot_pareto_front, {"target_names": names}))
    for name, page, picture, arguments in plots:
        path = settings.folder / "figures" / name
        with replacing(path.with_suffix(".html")) as temporary:
            page(drawn, **arguments).write_html(temporary, include_plotlyjs=True)
        yield path.with_suffix(".html")
        with replacing(path.with_suffix(".png")) as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            axes = picture(drawn, **arguments)
            figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
            figure.set_size_inches(9, 5)
            figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
        yield path.with_suffix(".png")


def _legible(study: Study) -> optuna.Study:
    """Return a copy with short names of parameters, without the trials that were run again under another number."""
    copy = optuna.create_study(directions=study.directions)
    trials = [trial for trial in counted(study) if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    shorter = dict(zip(names, short(names)))
    for trial in trials:
        copy.add_trial(
            optuna.create_trial(
                state=trial.state, values=trial.values, intermediate_values=trial.intermediate_values,
                params={shorter[name]: value for name, value in trial.params.items()},
                distributions={shorter[name]: kind for name, kind in trial.distributions.items()},
            )
        )  # fmt: skip
    return copy


def _value(objective: int, sign: float, trial: FrozenTrial) -> float:
    return sign * float(trial.values[objective])


def _varied(trials: list[FrozenTrial]) -> bool:
    """Return whether there is anything to ascribe to a parameter."""
    return len({tuple(t.values) for t in trials}) > 1 and len({str(t.params) for t in trials}) > 1
