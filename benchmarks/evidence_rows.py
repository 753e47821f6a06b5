"""The training runs of docs/results.md, in order. Run by evidence.py, printed by evidence_tables.py."""

import json
import sys
from itertools import product
from pathlib import Path
from typing import NamedTuple

MODELS = ("bprmf", "cove_bprmf", "lgcn", "cove_lgcn")
NAMES = {"bprmf": "BPRMF", "cove_bprmf": "COVE-BPRMF", "lgcn": "LightGCN", "cove_lgcn": "COVE-LightGCN"}
SEEDS = (0, 1, 2)
LRS, DECAYS = ("5e-4", "1e-3", "2e-3"), ("1e-8", "1e-6")  # the fixed six-point grid, the same for every model
RECHORUS = {"bprmf": ("1e-3", "1e-6"), "lgcn": ("1e-3", "1e-8")}
COVE = {  # codebook sizes by source; every other setting as in conf/cove_*.yaml, which the planted data chose
    "amazon-grocery": "[200,10]", "ml-100k": "[40,8]", "ml-1m": "[200,10]", "planted": "[40,8]",
}  # fmt: skip
SAMPLED = ("--monitor=val/ndcg@5/uni99", "--data.init_args.val_protocols=[sampled]", "--patience=10")


class Row(NamedTuple):
    """One training run."""

    group: str
    model: str
    lr: str
    decay: str
    seed: int
    options: tuple[str, ...]
    variant: str = ""  # of the quantizer

    @property
    def name(self) -> str:
        variant = f"-{self.variant}" if self.variant else ""
        return f"{self.group}/{self.model}{variant}-lr{self.lr}-wd{self.decay}-seed{self.seed}"

    def command(self, folder: Path) -> list[str]:
        stopped = sorted(folder.glob(f"runs/{self.model}/*/last.ckpt"), key=lambda path: path.stat().st_mtime)
        if stopped:  # an earlier call was stopped in the middle: go on
            return [sys.executable, "-m", "lightning_vq", "fit", "--run", str(stopped[-1].parent)]
        sizes = next(COVE[source] for source in COVE if f"--data.init_args.source={source}" in self.options)
        tree = [f"--quantization.quantizers.{v}.init_args.codebook_sizes={sizes}" for v in ("user", "item")]
        return [
            sys.executable, "-m", "lightning_vq", "fit", "--config", f"conf/{self.model}.yaml",
            f"--trainer.default_root_dir={folder}", "--trainer.enable_progress_bar=false", "--baseline=false",
            f"--model.init_args.lr={self.lr}", f"--model.init_args.weight_decay={self.decay}",
            f"--seed_everything={self.seed}", *(tree if "cove" in self.model else []), *self.options,
        ]  # fmt: skip


def data(source: str, batch: int, epochs: int = 200) -> tuple[str, ...]:
    return (
        f"--data.init_args.source={source}", f"--data.init_args.batch_size={batch}", f"--trainer.max_epochs={epochs}",
    )  # fmt: skip


def grid(group: str, model: str, options: tuple[str, ...]) -> list[Row]:
    return [Row(group, model, lr, decay, 0, options) for lr, decay in product(LRS, DECAYS)]


def both(key: str, value: str) -> tuple[str, ...]:
    """Return the options that set a quantizer's argument for users and items."""
    return tuple(f"--quantization.quantizers.{v}.init_args.{key}={value}" for v in ("user", "item"))


RESTART = ("--quantization.restart_dead_codes=true",)
STARTS = {  # where codes start, and whether dead ones are moved
    "normal": both("init", "normal"),
    "table_std": both("init", "table_std"),
    "table_std, restart": (*both("init", "table_std"), *RESTART),
    "kmeans": both("init", "kmeans"),
    "kmeans, restart": (*both("init", "kmeans"), *RESTART),
}
ESTIMATORS = ("straight_through", "codebook", "both", "rotation")


def study(source: str, batch: int, patience: int) -> list[Row]:
    """Return five seeds of BPRMF, of each gradient estimator under it, and of each start with straight_through."""
    options = (*data(source, batch), *SAMPLED, f"--patience={patience}")
    group, where = f"{source}-codebooks", ("1e-3", "1e-6")
    made = [Row(group, "bprmf", *where, s, options) for s in range(5)]
    variants = {e: both("gradient", e) for e in ESTIMATORS}
    variants |= {f"straight_through, {s}": STARTS[s] for s in ("table_std, restart", "kmeans", "kmeans, restart")}
    for name, extra in variants.items():
        made += [Row(group, "cove_bprmf", *where, s, (*options, *extra), name.replace(", ", "-")) for s in range(5)]
    return made


def rows(out: Path) -> list[list[Row]]:
    """Return the rows in the order of the issue; a later stage may depend on the results of an earlier one."""
    grocery = (*data("amazon-grocery", 256), *SAMPLED)
    wide = (*data("amazon-grocery", 1024), *SAMPLED)  # COVE's own batch size for LightGCN
    anchors = [Row("grocery-rechorus", m, *RECHORUS[m], s, grocery) for m in ("bprmf", "lgcn") for s in SEEDS]
    bpr_grid = [r for m in ("bprmf", "cove_bprmf") for r in grid("grocery-grid", m, grocery)]
    graph_grid = [r for m in ("lgcn", "cove_lgcn") for r in grid("grocery-grid", m, wide)]
    bpr_tuned: list[Row] = []
    graph_tuned: list[Row] = []
    for stage, model, options in (
        (bpr_tuned, "bprmf", grocery),
        (bpr_tuned, "cove_bprmf", grocery),
        (graph_tuned, "lgcn", wide),
        (graph_tuned, "cove_lgcn", wide),
    ):
        best = chosen(out, grid("grocery-grid", model, options))
        if best is not None:
            stage += [best._replace(seed=s) for s in SEEDS[1:]]
    small = (*data("ml-100k", 256), *SAMPLED)
    hundred = [Row("ml-100k", m, *RECHORUS[m.removeprefix("cove_")], s, small) for m in MODELS for s in SEEDS]
    million = (*data("ml-1m", 256), *SAMPLED, "--patience=5")
    large = [Row("ml-1m", m, *RECHORUS["bprmf"], s, million) for m in ("bprmf", "cove_bprmf") for s in SEEDS]
    graph = (*data("ml-1m", 8192, 60), *SAMPLED, "--patience=5")
    large += [Row("ml-1m", m, "5e-3", RECHORUS["lgcn"][1], 0, graph) for m in ("lgcn", "cove_lgcn")]
    planted = (*data("planted", 1024), "--patience=30")
    ones = ["--quantization.omega_q=1", "--quantization.beta=1"]
    ones += [f"--quantization.quantizers.{v}.init_args.alpha=1" for v in ("user", "item")]
    embedded = [Row("planted", m, "5e-3", "1e-8", s, planted) for m in ("lgcn", "cove_lgcn") for s in SEEDS]
    embedded += [Row("planted-all-weights-1", "cove_lgcn", "5e-3", "1e-8", s, (*planted, *ones)) for s in SEEDS]
    whole = (*data("ml-1m", 2048, 15), *SAMPLED, "--patience=null")
    collapse = [
        Row("ml-1m-collapse", "cove_bprmf", "1e-3", "1e-6", 0, (*whole, *start, *both("codebook_sizes", "[500,10]")),
            name.replace(", ", "-"))
        for name, start in STARTS.items()
    ]  # fmt: skip
    codebooks = [study("amazon-grocery", 256, 10), study("ml-1m", 2048, 5)]
    return [anchors, bpr_grid, bpr_tuned, graph_grid, graph_tuned, hundred, large, embedded, collapse, *codebooks]


def result(out: Path, row: Row) -> dict | None:
    path = out / f"{row.name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def chosen(out: Path, candidates: list[Row]) -> Row | None:
    """Return the row with the best validation metric, once all have run."""
    results = [(found, row) for row in candidates if (found := result(out, row)) is not None]
    if len(results) < len(candidates):
        return None
    return max(results, key=lambda pair: pair[0]["best"][pair[0]["monitor"]])[1]
