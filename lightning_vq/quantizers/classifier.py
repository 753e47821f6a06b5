"""Tree classification: a predicted vector also predicts its target's code at every level of the tree.

CAGE, eq. 14-19: L_tree = 1/H * sum_i CE(g^i(z), y^(i)), with y^(i) the target's codes, from this step's tables.
The paper's eq. 17 writes the score itself; the loss is its cross-entropy. omega_c weights it in list completion.
Shapes: M predicted positions, D dim, H levels, K_i codes of level i.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class TreeClassifier(nn.Module):
    """A linear head g^i: R^D -> R^(K_i) for every level.

    Args:
        dim: width of the predicted vectors (D).
        codebook_sizes: codes of each level (K_i), as the quantizer's.
    """

    def __init__(self, dim: int, codebook_sizes: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.codebook_sizes = dim, list(codebook_sizes)
        self.heads = nn.ModuleList(nn.Linear(dim, k) for k in self.codebook_sizes)

    def forward(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Return the loss, a mean over levels and positions; 0 for no position.

        Args:
            hidden: (M, D) predicted vectors, after the backbone's transform.
            codes: (M, H) int64 codes of the targets; pseudo-labels, no gradient goes through them.
        """
        if not len(hidden):
            return hidden.sum() * 0.0
        levels = [cross_entropy(head(hidden), codes[:, i]) for i, head in enumerate(self.heads)]
        return torch.stack(levels).mean()
