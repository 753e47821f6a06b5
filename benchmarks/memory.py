"""Resident memory of the process that asks, in MiB, as Linux tells it; RecBole's environment runs this file too."""

from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def held(name: str) -> float:
    """Return a line of the process's status in MiB, NaN where there is none: "VmRSS" is held now, "VmHWM" was at most.

    getrusage's ru_maxrss would not do: a process that another one started counts what that one held.
    """
    lines = STATUS.read_text().splitlines() if STATUS.exists() else [f"{name}: nan kB"]
    [line] = [line for line in lines if line.startswith(name + ":")]
    return float(line.split()[1]) / 1024


class Watch:
    """Memory of a training run. Made when everything is imported."""

    def __init__(self) -> None:
        self.imports = held("VmRSS")

    def training(self) -> None:
        """Note what data and model hold, and forget the peak of making them."""
        self.before, self.prepared = held("VmHWM"), held("VmRSS")
        if RESET.exists():
            RESET.write_text("5")  # VmHWM begins again with what is held now

    def told(self) -> dict[str, float]:
        """Return MiB: `whole`, the peak of the process; `training`, the peak of training over what it began with."""
        peak = held("VmHWM")
        return {
            "whole": max(self.before, peak), "imports": self.imports, "prepared": self.prepared,
            "training": peak - self.prepared,
        }  # fmt: skip
