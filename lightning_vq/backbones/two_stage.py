"""A softmax over all items in two stages: the cluster, then the item in it.

FANS' two-stage classifier (Liu et al., WWW 2023): log p(n | h) = log p(c_n | h) + log p(n | c_n, h), each a softmax,
the second over the items of one cluster. Learning a position costs the items of its target's cluster, not all.

Departures: both stages are learned on every position and weigh the same, so that their sum is the log-likelihood; the
authors learn the second where the first is right alone, and divide it by the number of clusters. An item's score is its
log p, where the authors score the items of the likeliest cluster alone. Both stages see one hidden vector, theirs a
transform each. Shapes: M positions, D dim, N items, K clusters.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lightning_vq.errors import UserError
from lightning_vq.types import CATEGORY, Facts


class TwoStage(nn.Module):
    """The first stage's weights, and what is in which cluster.

    Args:
        dim: of the hidden vectors (D).
        facts: of the data, with one category for every item, its cluster.

    Raises:
        UserError: the data knows no category of an item, or several.
    """

    of: Tensor  # (N,) the cluster of each item
    order: Tensor  # (N,) items by cluster
    place: Tensor  # (N,) of each item in its cluster

    def __init__(self, dim: int, facts: Facts) -> None:
        super().__init__()
        known = facts.categories.get("item")
        if known is None or known.shape[1] != 1 or bool((known < 0).any()):
            raise UserError(
                "backbone.init_args.two_stage needs one category for every item: "
                "data.init_args.clusters=100 makes them from the lists"
            )
        of, count = known[:, 0], facts.rows["item" + CATEGORY]
        order, sizes = torch.argsort(of, stable=True), torch.bincount(of, minlength=count)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[of[order]]
        self.sizes: list[int] = sizes.tolist()
        for name, value in (("of", of), ("order", order), ("place", place)):
            self.register_buffer(name, value, persistent=False)  # the checkpoint's facts have them
        self.first = nn.Linear(dim, count)

    def loss(self, hidden: Tensor, keys: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        """Return -mean log p of the observed items.

        Args:
            hidden: (M, D).
            keys: (N, D).
            bias: (N,) or none.
            targets: (M,).
        """
        clusters = self.of[targets]
        total = cross_entropy(self.first(hidden), clusters, reduction="sum")
        rows = torch.argsort(clusters)
        members = self.order.split(self.sizes)
        counts = torch.bincount(clusters, minlength=len(self.sizes)).tolist()
        for part, inside in zip(rows.split(counts), members):  # clusters of no target have no rows
            if len(part):
                scores = hidden[part] @ keys[inside].T
                scores = scores if bias is None else scores + bias[inside]
                total = total + cross_entropy(scores, self.place[targets[part]], reduction="sum")
        return total / max(1, len(targets))

    def log_odds(self, hidden: Tensor, scores: Tensor) -> Tensor:
        """Return log p (M, N) of all items, given h . keys + bias (M, N)."""
        parts = scores[:, self.order].split(self.sizes, dim=1)
        norms = torch.stack([part.logsumexp(1) for part in parts], 1)  # (M, K); -inf for a cluster of nothing
        return scores + (self.first(hidden).log_softmax(1) - norms)[:, self.of]
