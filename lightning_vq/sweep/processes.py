"""The warm process of a sweep, from which its checks and one-device trials are forked.

Nothing here imports torch: the process that holds the study stays light, and only forks of the warm one are heavy.
"""

import multiprocessing as mp
import multiprocessing.forkserver
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from lightning_vq.errors import UserError

FORKSERVER = mp.get_context("forkserver")
FORKSERVER.set_forkserver_preload(["lightning_vq.sweep.warm"])


def begin_warm() -> None:
    """Start the warm process, which imports Lightning while this one imports Optuna."""
    mp.forkserver.ensure_running()


class Found(NamedTuple):
    """What the base config of a sweep says."""

    devices: list[str]  # names that CUDA_VISIBLE_DEVICES takes; none on the CPU
    epochs: int  # trainer.max_epochs
    forks: bool  # ranks are forked by Lightning rather than started as commands


def rehearsed(base: list[str], variants: list[tuple[str, list[str]]]) -> Found:
    """Return what a fit with these options would find, once it and each of its variants have been checked.

    Args:
        base: options of `fit`.
        variants: (what it is, further options).

    Raises:
        UserError: one of them cannot be trained.
    """
    answer = _asked(_check, base, variants)
    if isinstance(answer, str):
        raise UserError(answer)
    return Found(*answer)


def tested(fits: list[list[str]]) -> list[list[str] | str]:
    """Return for each fit, as its options, the names of its test metrics, or why it cannot be trained."""
    return list(_asked(_tests, fits))


def _asked(question: Callable[..., None], *arguments: Any) -> Any:
    """Return what a fork of the warm process answers."""
    ours, theirs = mp.Pipe(duplex=False)
    process = FORKSERVER.Process(target=question, args=(*arguments, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"the check of a config died with status {process.exitcode}") from None
    finally:
        process.kill()
        process.join()


def begin_fit(
    arguments: list[str], environment: dict[str, str], log: Path, reports: Connection, lifeline: Connection
) -> mp.process.BaseProcess:
    """Return the process of a fit, forked from the warm one.

    Args:
        arguments: options of `fit`.
        environment: all of it.
        log: file that its output is added to.
        reports: its end of the connection that it reports on.
        lifeline: connection that ends with this process, and the fit with it.
    """
    process = FORKSERVER.Process(target=_fit, args=(arguments, environment, log, reports, lifeline))
    process.start()
    return process


def illustrated(runs: list[Path]) -> mp.process.BaseProcess:
    """Return the process that draws the figures of run folders, which trials go without."""
    process = FORKSERVER.Process(target=_illustrate, args=(runs,))
    process.start()
    return process


def _fit(
    arguments: list[str], environment: dict[str, str], log: Path, reports: Connection, lifeline: Connection
) -> None:
    from lightning_vq.sweep import warm  # imported already where this runs

    warm.fit(arguments, environment, log, reports, lifeline)


def _check(base: list[str], variants: list[tuple[str, list[str]]], found: Connection) -> None:
    from lightning_vq.sweep import warm

    warm.check(base, variants, found)


def _tests(fits: list[list[str]], found: Connection) -> None:
    from lightning_vq.sweep import warm

    warm.tests(fits, found)


def _illustrate(runs: list[Path]) -> None:
    from lightning_vq.sweep import warm

    warm.illustrate(runs)
