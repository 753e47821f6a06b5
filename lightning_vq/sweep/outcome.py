"""What a study leaves behind: the best config as a runnable YAML, figures, and a summary."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from lightning_vq.runs import read_yaml, replacing, write_json
from lightning_vq.sweep.settings import Settings
from lightning_vq.sweep.space import short
from lightning_vq.sweep.spelling import shown
from lightning_vq.sweep.study import Study, counted

ENOUGH = 8  # complete trials, to say what a value depends on


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


def write_outcome(settings: Settings, study: Study, baseline: bool) -> list[Path]:
    """Write <name>_best.yaml, summary.json, figures and pages, and return the paths of the configs.

    Args:
        settings: of the sweep.
        study: with at least one complete trial.
        baseline: what the base config says, for the best one: a trial trains no base model.
    """
    best, configs = best_trials(study), []
    for path in settings.folder.glob(f"{settings.name}_best*.yaml"):
        path.unlink()  # of an earlier front
    for i, trial in enumerate(best):
        source = run_folder(trial, settings) / "config.yaml"
        if source.is_file():  # else it was run on another machine
            configs.append(settings.folder / f"{settings.name}_best{i + 1 if len(best) > 1 else ''}.yaml")
            values = ", ".join(f"{name} {value:.6g}" for name, value in zip(settings.objectives, trial.values))
            _write_config(configs[-1], source, baseline, f"trial {trial.number} of study {settings.name}: {values}")
    write_json(settings.folder / "summary.json", _summary(settings, study, best))
    _draw(settings, study)
    return configs


def run_folder(trial: FrozenTrial, settings: Settings) -> Path:
    """Return the run folder of a trial's first seed."""
    folder = settings.folder / trial.user_attrs["folder"]
    return folder if len(settings.seeds) == 1 else folder / f"seed{settings.seeds[0]}"


def _write_config(path: Path, source: Path, baseline: bool, title: str) -> None:
    config = read_yaml(source)
    config["baseline"] = baseline
    config["trainer"]["enable_progress_bar"] = None
    with replacing(path) as temporary:
        temporary.write_text(f"# {title}\n{yaml.safe_dump(config, sort_keys=False)}")


def _summary(settings: Settings, study: Study, best: list[FrozenTrial]) -> dict[str, Any]:
    """Return the study in figures; seconds are of all attempts: while any trial ran, and summed over trials."""
    trials, attempts = counted(study), [t for t in study.get_trials(deepcopy=False) if t.duration]
    return {
        "study": settings.name,
        "objectives": settings.objectives,
        "trials": {state.name.lower(): sum(t.state == state for t in trials) for state in TrialState},
        "wall_seconds": _union([(t.datetime_start, t.datetime_complete) for t in attempts]),
        "trial_seconds": sum(t.duration.total_seconds() for t in attempts if t.duration),
        **{name: sum(t.user_attrs.get(name, 0.0) for t in trials) for name in ("fit_seconds", "train_seconds")},
        "best": [
            {"trial": t.number, "values": t.values, "each_seed": t.user_attrs.get("each_seed"), "params": t.params,
             "folder": str(run_folder(t, settings))}
            for t in best
        ],
    }  # fmt: skip


def _union(spans: list[tuple[Any, Any]]) -> float:
    """Return the seconds that at least one of some spans of time covers."""
    total, end = 0.0, None
    for begun, ended in sorted(spans):
        begun = begun if end is None else max(begun, end)
        if ended > begun:
            total += (ended - begun).total_seconds()
        end = ended if end is None else max(end, ended)
    return total


def _draw(settings: Settings, study: Study) -> None:
    """Draw what there is enough to draw of, each as PNG and as a page that opens without a network."""
    import optuna.visualization as pages  # slow to import, needed once
    import optuna.visualization.matplotlib as pictures
    from matplotlib import rc_context

    legible = _legible(study)
    complete = legible.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    names = list(settings.objectives)
    plots: list[tuple[str, Callable[..., Any], Callable[..., Any], optuna.Study, dict[str, Any]]] = []
    both: tuple[Callable[..., Any], Callable[..., Any]]
    # Optuna's default evaluator ranks the parameters of what is good; this one says what the value depends on.
    evaluator = FanovaImportanceEvaluator(seed=0)
    for i, name in enumerate(names):
        one = {"target": None if len(names) == 1 else partial(_value, i), "target_name": name}
        suffix = "" if len(names) == 1 else f"_{name.replace('/', '_')}"
        if len(complete) >= ENOUGH and len({trial.values[i] for trial in complete}) > 1 and _varied(complete):
            both = (pages.plot_param_importances, pictures.plot_param_importances)
            plots.append((f"importance{suffix}", *both, legible, {**one, "evaluator": evaluator}))
        if len(complete) > 1:
            both = (pages.plot_parallel_coordinate, pictures.plot_parallel_coordinate)
            plots.append((f"parallel_coordinate{suffix}", *both, legible, one))
    if len(names) == 1:
        both = (pages.plot_optimization_history, pictures.plot_optimization_history)
        plots.append(("history", *both, study, {"target_name": names[0]}))
    elif len(names) <= 3:
        both = (pages.plot_pareto_front, pictures.plot_pareto_front)
        plots.append(("pareto_front", *both, legible, {"target_names": names}))
    for name, page, picture, of, arguments in plots:
        path = settings.folder / "figures" / name
        with replacing(path.with_suffix(".html")) as temporary:
            drawn = page(of, **arguments)
            if page is pages.plot_pareto_front and names[-1] == "bytes" and len(names) == 2:
                drawn.update_yaxes(type="log")
            drawn.write_html(temporary, include_plotlyjs=True)
        # Some of Optuna's plots set a style for whatever is drawn next; rc_context takes it back.
        with replacing(path.with_suffix(".png")) as temporary, warnings.catch_warnings(), rc_context():
            warnings.simplefilter("ignore")
            axes = picture(of, **arguments)
            figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
            if picture is pictures.plot_parallel_coordinate:
                for one in [one for one in figure.axes if one.get_label() == "<colorbar>"]:
                    one.remove()  # it lies over the names of choices, and the first axis tells the same
            if picture is pictures.plot_pareto_front and len(names) == 2:
                _tell_points(axes, legible, [t.number for t in counted(study) if t.state == TrialState.COMPLETE], names)
            figure.set_size_inches(9, 5)
            figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")


def _tell_points(axes: Any, study: optuna.Study, numbers: list[int], objectives: list[str]) -> None:
    """Write at each point which trial it is, by the parameter's value where the study has one alone; join the front.

    Args:
        axes: of the two objectives.
        study: with short names.
        numbers: of its complete trials.
        objectives: their names. Bytes are told on a scale of factors.
    """
    from matplotlib.ticker import EngFormatter  # slow to import, needed once

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    texts = [str(number) for number in numbers]
    if len({name for trial in complete for name in trial.params}) == 1:
        texts = [str(next(iter(trial.params.values()))) for trial in complete]
        if len({text.partition(": ")[0] for text in texts if ": " in text}) == 1:  # "user, item: DPQ(...)" of each
            texts = [text.partition(": ")[2] or text for text in texts]
    middle = sum(axes.get_xlim()) / 2
    for text, trial in zip(texts, complete):
        left = trial.values[0] > middle  # so that no text leaves the picture
        place = {"xytext": (-5 if left else 5, 4), "ha": "right" if left else "left"}
        axes.annotate(text, trial.values, textcoords="offset points", fontsize=7, **place)
    front = sorted(trial.values for trial in study.best_trials)
    axes.plot(*zip(*front), color="tab:red", linewidth=0.8, zorder=0)
    if objectives[1] == "bytes":
        axes.set_yscale("log")
        for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            ticks(EngFormatter(unit="B"))
    axes.set_title("")


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
                params={
                    shorter[name]: _labels(trial.distributions[name]).get(value, value)
                    for name, value in trial.params.items()
                },
                distributions={shorter[name]: _labelled(kind) for name, kind in trial.distributions.items()},
            )
        )  # fmt: skip
    return copy


def _labels(kind: BaseDistribution) -> dict[Any, str]:
    """Return how a reader is told of each choice that is text; of none where two would be told alike."""
    if not isinstance(kind, CategoricalDistribution):
        return {}
    labels = {choice: shown(choice) for choice in kind.choices if isinstance(choice, str)}
    return labels if len(set(labels.values())) == len(labels) else {}


def _labelled(kind: BaseDistribution) -> BaseDistribution:
    """Return a distribution whose choices are spelled for a reader."""
    if not isinstance(kind, CategoricalDistribution):
        return kind
    labels = _labels(kind)
    return CategoricalDistribution([labels.get(one, one) for one in kind.choices])


def _value(objective: int, trial: FrozenTrial) -> float:
    return float(trial.values[objective])


def _varied(trials: list[FrozenTrial]) -> bool:
    return len({str(trial.params) for trial in trials}) > 1
