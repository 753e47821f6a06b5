"""Logs how many codes of each level are in use, over the whole table, after every epoch."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_vq.modules.base import Recommender


class CodeUsage(Callback):
    """Logs `codes/<table>/level<i>`, the share of the codes of level i that at least one entity chose."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Recommender)
        for name, used in codes_used(pl_module).items():
            shares = {f"codes/{name}/level{i + 1}": n / size for i, (n, size) in enumerate(used)}
            pl_module.log_dict(shares)


@torch.no_grad()
def codes_used(module: Recommender) -> dict[str, list[tuple[int, int]]]:
    """Return per quantized table and level (codes in use, codes there are)."""
    look, used = module.lookup(), {}
    for name in module.quantizers:
        codes = look.codes(name, torch.arange(len(module.tables[name]), device=module.device))
        sizes: list[int] = module.quantizers[name].codebook_sizes  # type: ignore[assignment]
        used[name] = [(len(codes[:, i].unique()), size) for i, size in enumerate(sizes)]
    return used
