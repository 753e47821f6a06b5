"""What backbones of padded lists share: the vectors of their items, cloze masks, refusals.

Shapes: B batch, T items of a list, D dim, N items.
"""

import torch
from torch import Tensor

from lightning_vq.errors import UserError


def check_sizes(**sizes: int) -> None:
    """Refuse hyperparameters that must be 1 or more.

    Raises:
        UserError: with the key.
    """
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"backbone.init_args.{name} is {size}; it must be at least 1")


def check_share(name: str, share: float) -> None:
    """Refuse what is no share of a whole that is left in part.

    Raises:
        UserError: with the key.
    """
    if not 0 <= share < 1:
        raise UserError(f"backbone.init_args.{name} is {share}; it must be in [0, 1)")


def at(x: Tensor, places: Tensor) -> Tensor:
    """Return the rows (B, D) of x (B, T, D) at one place (B,) of each list."""
    return x[torch.arange(len(x), device=x.device), places]


def clozed(items: Tensor, chosen: Tensor, rows: int) -> Tensor:
    """Return items (B, T) with the chosen ones hidden: four of five by the token <MASK>, which is number `rows` (N).

    Of the chosen ones 10 % become an item drawn from all, and 10 % stay (Devlin et al., NAACL 2019, section 3.1).
    """
    fate = torch.rand(items.shape, device=items.device)
    drawn = torch.randint(rows, items.shape, device=items.device)
    hidden = torch.where(fate < 0.9, drawn, items).masked_fill(fate < 0.8, rows)
    return torch.where(chosen, hidden, items)
