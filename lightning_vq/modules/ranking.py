"""Ranks of held-out items by what a model scores, and what users' metrics are of them.

Shapes: B users, P held-out interactions, U users with some, N items.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_vq import losses
from lightning_vq.data.alone import Batches, candidates, chances
from lightning_vq.data.negatives import KnownPairs
from lightning_vq.errors import UserError
from lightning_vq.metrics import MetricName, rank_alone, user_metrics
from lightning_vq.types import Alone, Output


def finite_scores(output: Output) -> Tensor:
    """Return the scores (B, N) of every item.

    Raises:
        UserError: NaN or infinity is among them.
    """
    scores = losses.all_scores(output)
    # Every key is in some score, so that their sum tells: a look at a million keys would outweigh the product.
    if not torch.isfinite(scores.sum()):
        for name, tensor in (("hidden", output.hidden), ("keys", output.keys), ("bias", output.bias)):
            refuse_nan(tensor, name)
        # Finite vectors may still overflow.
        raise UserError(f"evaluation stopped: scores {tuple(scores.shape)} hold NaN or infinity")
    return scores


def refuse_nan(tensor: Tensor | None, name: str) -> None:
    if tensor is not None and not torch.isfinite(tensor).all():
        raise UserError(f"evaluation stopped: {name} {tuple(tensor.shape)} holds NaN or infinity")


def best_items(scores: Tensor, k: int) -> Tensor:
    """Return the best items (B, k) by scores (B, N); -1 where a user has fewer unseen items, the others being -inf."""
    values, items = scores.topk(min(k, scores.shape[1]), dim=1)
    return torch.where(values > -torch.inf, items, -1)


def ranks_alone(alone: Alone, scores: Tensor, owners: Tensor, items: Tensor, piece: int) -> dict[str, Tensor]:
    """Return the rank (P,) of each held-out item by protocol, "alone" and "batch1024".

    Args:
        alone: what it is ranked against.
        scores: (B, N).
        owners: (P,) row of scores of each.
        items: (P,).
        piece: how many are ranked at a time.
    """
    row, item = alone.known
    barred = scores.view(-1).index_fill(0, row * scores.shape[1] + item, -torch.inf).view_as(scores)
    found: dict[str, list[Tensor]] = {}
    for part in torch.arange(len(owners), device=owners.device).split(piece):
        of, mine = owners[part], items[part]
        if alone.everyone:
            found.setdefault("alone", []).append(rank_alone(scores[of], barred[of], mine, None))
        if alone.of is not None and alone.holds is not None:
            among = alone.holds[alone.of[part]]
            found.setdefault(f"batch{alone.size}", []).append(rank_alone(scores[of], barred[of], mine, among))
    return {protocol: torch.cat(ranks) for protocol, ranks in found.items()}


def random_scorer(
    protocols: Sequence[str], batches: Batches, users: Tensor, known: KnownPairs, ks: Sequence[int]
) -> dict[str, Any]:
    """Return what metrics.json tells of a scorer that knows nothing, by protocol: "alone", "batch1024"."""
    counts = {
        protocol: candidates(None if protocol == "alone" else batches, users, known)
        for protocol in protocols
        if protocol == "alone" or protocol.startswith("batch")
    }
    told = {protocol: {"candidates": float(of.double().mean()), **chances(of, ks)} for protocol, of in counts.items()}
    return {"random": told} if told else {}


def metrics_of_users(
    names: Sequence[MetricName], ks: Sequence[int], protocol: str, users: Tensor, ranks: Tensor
) -> dict[str, Tensor]:
    """Return "ndcg@10" and so on of each user (U,), users rising.

    "full" makes one list of what a user holds out; of other protocols a user's value is the mean over it.

    Args:
        names: of metrics.
        ks: cut-offs.
        protocol: as metric names carry it.
        users: (P,) of each held-out interaction.
        ranks: (P,) of it.
    """
    return user_metrics(names, ks, users, ranks, one_list=protocol == "full")


def reported(protocol: str, users: Tensor, values: Tensor) -> Tensor:
    """Return what a protocol reports of its users' values (U,): their mean, or, of "alone" and "batch1024", that over
    all held-out interactions (P,), of which some users have more."""
    if protocol != "alone" and not protocol.startswith("batch"):
        return values.mean()
    _, held = torch.unique(users, return_counts=True)
    return (values * held).sum() / held.sum()
