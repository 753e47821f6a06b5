"""The config of a run: as its folder keeps it, what its training may not be, and when a run is another one."""

from pathlib import Path
from typing import Any

from lightning_vq.data.base import RecommenderData
from lightning_vq.errors import UserError, nearest
from lightning_vq.modules.base import Recommender
from lightning_vq.runs import read_yaml
from lightning_vq.sources.folders import is_path
from lightning_vq.trainer import refuse_accumulation

PATHS = {"data": ("root", "vectors", "user_file", "item_file"), "model": ("patterns",)}  # options that may name one


def to_keep(config: Any) -> Any:
    """Return a verb's parsed config as a run folder keeps it: whole, and with paths that hold from any folder."""
    kept = config.clone()
    for key in ("config", "run"):
        kept.pop(key, None)
    kept["ckpt_path"] = None
    arguments = kept["data"]["init_args"]
    if "source" in arguments and is_path(arguments["source"]):
        arguments["source"] = str(Path(arguments["source"]).absolute())
    for section, keys in PATHS.items():
        arguments = kept[section]["init_args"]
        for key in keys:
            value = arguments.get(key)
            if isinstance(value, str):
                arguments[key] = str(Path(value).expanduser().absolute())
            elif isinstance(value, dict):
                arguments[key] = {name: str(Path(one).expanduser().absolute()) for name, one in value.items()}
    return kept


def refuse_another(folder: Path, now: dict[str, Any], going_on: bool) -> None:
    """A run is gone on with, or tested, as it was configured; only its training may be made longer.

    Args:
        folder: of the run.
        now: the config that is asked for, as `to_keep` has it.
        going_on: with training, and not only to a test.

    Raises:
        UserError: it is another model, or to be trained otherwise.
    """
    saved = read_yaml(folder / "config.yaml")
    keys = ["quantization", "model.init_args.backbone"]
    if going_on:
        was, is_now = (processes_of_cut_tables(config["trainer"]) for config in (saved, now))
        if was != is_now and (0 in (was, is_now) or None not in (was, is_now)):
            first, second = ("all" if n is None else n for n in (was, is_now))
            raise UserError(
                f"{folder}: its tables were cut over {first} processes and would be over {second} (0: not cut), whose "
                "state of the optimizer is numbered otherwise. To validate, test or predict, use one process"
            )
        keys += ["model", "data", "seed_everything", "monitor"]
    for key in keys:
        before, after = saved, now
        for part in key.split("."):
            before, after = before[part], after[part]
        if before != after:
            raise UserError(
                f"{folder} was made with another {key} section; start a new run with "
                f"--config {folder / 'config.yaml'} and your change"
            )


def processes_of_cut_tables(trainer: dict[str, Any]) -> int | None:
    """Return over how many processes a trainer's section cuts id tables: 0 where it leaves them whole, None where the
    machine decides ("auto", -1).

    >>> cut = {"class_path": "lightning.pytorch.strategies.ModelParallelStrategy"}
    >>> asked = 2, [0, 1], "0,1", "2", "auto"
    >>> [processes_of_cut_tables({"strategy": cut, "devices": devices, "num_nodes": 2}) for devices in asked]
    [4, 4, 4, 4, None]
    >>> processes_of_cut_tables({"strategy": "ddp", "devices": 2, "num_nodes": 1})
    0
    """
    strategy, devices = trainer["strategy"], trainer["devices"]
    if not isinstance(strategy, dict) or not strategy["class_path"].endswith("ModelParallelStrategy"):
        return 0
    if isinstance(devices, str) and "," in devices:
        devices = [one for one in devices.split(",") if one.strip()]
    if isinstance(devices, list):
        return len(devices) * int(trainer["num_nodes"])
    return int(devices) * int(trainer["num_nodes"]) if str(devices).isdigit() else None


def check_training(
    trainer: dict[str, Any], model: Recommender, data: RecommenderData, monitor: str, patience: int | None
) -> None:
    """Refuse what Lightning would accept and the run would ignore or trip over.

    Args:
        trainer: section of the config.
        model, data: not built, not set up.
        monitor: validation metric that chooses the best epoch.
        patience: epochs without a better one; None is for ever.

    Raises:
        UserError: with the right key, or the nearest right value.
    """
    refuse_accumulation(trainer["accumulate_grad_batches"])
    if trainer["gradient_clip_val"] is not None:
        raise UserError("trainer.gradient_clip_val is not supported; did you mean 'model.init_args.clip'?")
    _refuse_copies(trainer)
    if trainer["limit_val_batches"] == 0:
        raise UserError(f"trainer.limit_val_batches is 0, but monitor {monitor!r} needs validation")
    if data.in_time and trainer["limit_val_batches"] not in (None, 1.0):
        raise UserError("trainer.limit_val_batches: the first batches of TimedData are what all others are ranked by")
    if patience is not None and patience < 1:
        raise UserError(f"patience is {patience}; it must be at least 1, or null for never")
    if data.refit and patience is not None:
        raise UserError(
            f"data.init_args.refit trains on the validation part, so that patience ({patience}) has nothing to go by: "
            "--patience=null, and the epochs that the validated run needed as trainer.max_epochs"
        )
    model.check(data)
    names = model.monitors(data)
    if monitor not in names:
        raise UserError(f"monitor {monitor!r} is not a validation metric of this config{nearest(monitor, names)}")


def _refuse_copies(trainer: dict[str, Any]) -> None:
    """Refuse what the module would refuse too, but not once a process, and with a run folder made."""
    if processes_of_cut_tables(trainer) == 0:
        return
    asked = (trainer["strategy"].get("init_args") or {}).get("data_parallel_size", "auto")
    copies = int(trainer["num_nodes"]) if asked == "auto" else int(asked)
    if copies != 1:
        raise UserError(
            f"trainer.strategy.init_args.data_parallel_size is {asked}, which is {copies} copies of the tables; they "
            "are cut over all processes: it must be 1, and tensor_parallel_size the number of processes"
        )
