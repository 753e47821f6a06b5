"""Training losses, a formula each; those of ranking are of scores (B, C) whose column 0 is the observed item.

Shapes: B batch, C = 1 + negatives candidates, D dim, N items. All are means over the rows of the batch.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, softplus

from lightning_vq.types import Output


def candidate_scores(output: Output) -> Tensor:
    """Return the scores (B, C) of B x C candidates: s_bc = hidden_b . keys_bc + bias_bc."""
    if output.scores is not None:
        return output.scores
    assert output.hidden is not None
    assert output.keys is not None
    if output.keys.shape[1] <= 10:  # for few candidates the backward of a batched product takes 3 to 5 times as long
        scores = (output.hidden[:, None] * output.keys).sum(-1)
    else:
        scores = torch.einsum("bd,bcd->bc", output.hidden, output.keys)
    return scores if output.bias is None else scores + output.bias


def all_scores(output: Output) -> Tensor:
    """Return the scores (B, N) of every item: s_bn = hidden_b . keys_n + bias_n."""
    if output.scores is not None:
        return output.scores
    assert output.hidden is not None
    assert output.keys is not None
    if output.bias is None:
        return output.hidden @ output.keys.T
    return torch.addmm(output.bias, output.hidden, output.keys.T)


def squared_error(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean over rows of (s_b - t_b)^2, of one score (B,) each and what it is to be (B,).

    Source: Kang et al. (MGQE), WWW Companion 2020, section 5.3, task 3.

    >>> squared_error(torch.tensor([1.0, 0.0]), torch.tensor([3.0, 1.0]))
    tensor(2.5000)
    """
    return (scores - targets).square().mean()


def bpr(scores: Tensor) -> Tensor:
    """Bayesian personalized ranking, -mean log sigmoid(s_b0 - s_bj) over rows b and negatives j >= 1.

    Source: Rendle et al., UAI 2009, section 4.1, without the regularizer (weight decay is the optimizer's).

    >>> bpr(torch.tensor([[1.0, 1.0]]))
    tensor(0.6931)
    """
    return -logsigmoid(scores[:, :1] - scores[:, 1:]).mean()


def binary_cross_entropy(scores: Tensor) -> Tensor:
    """-mean over rows and candidates of log sigmoid(s_b0) for the observed item, log(1 - sigmoid(s_bj)) for negatives.

    Source: He et al., WWW 2017, eq. 7, over the sampled candidates.

    >>> binary_cross_entropy(torch.tensor([[0.0, 0.0, 0.0]]))
    tensor(0.6931)
    """
    return torch.cat([softplus(-scores[:, :1]), softplus(scores[:, 1:])], 1).mean()


def margin(scores: Tensor, width: float) -> Tensor:
    """Mean max(0, width - s_b0 + s_bj) over rows b and negatives j >= 1.

    Source: Bordes et al., "Translating Embeddings for Modeling Multi-relational Data", NeurIPS 2013, eq. 1.

    >>> margin(torch.tensor([[2.0, 1.5, 0.0]]), 1.0)
    tensor(0.2500)
    """
    return (width - scores[:, :1] + scores[:, 1:]).relu().mean()


def sampled_softmax(scores: Tensor, log_q: Tensor | None) -> Tensor:
    """-mean log softmax over the candidates of s_bc - log q_bc, at the observed item.

    Args:
        scores: (B, C).
        log_q: (B, C) log of the odds that sampling draws each candidate, up to a constant; None where they are equal.

    Source: Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019,
    eq. 4-5. With the correction the best scores are log p(item | user) up to a constant, whatever the odds (Ma and
    Collins, EMNLP 2018, theorem 4.1); without it those of popular items come out lower.

    >>> sampled_softmax(torch.tensor([[0.0, 0.0]]), None)
    tensor(0.6931)
    """
    scores = scores if log_q is None else scores - log_q
    return -scores.log_softmax(1)[:, 0].mean()


def softmax(scores: Tensor, observed: Tensor) -> Tensor:
    """-mean log softmax over all items, at the observed one.

    Args:
        scores: (B, N), held at once.
        observed: (B,) the item of each row.

    >>> softmax(torch.zeros(1, 4), torch.tensor([2]))
    tensor(1.3863)
    """
    return cross_entropy(scores, observed)


CELLS = 1 << 20  # scores that `all_items` holds at a time: as many as stay in a core's cache; 16 times that off the CPU
ROWS = 64  # but rows of scores at least, since each block also goes once over all keys and their gradients,
MOST = 1 << 26  # as long as these are no more scores than that


def all_items(hidden: Tensor, keys: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """-mean log softmax over all items, at the observed one; of the scores (M, N) a block of rows is held at a time.

    Args:
        hidden: (M, D).
        keys: (N, D).
        bias: (N,) or none.
        targets: (M,) the observed items.

    >>> all_items(torch.zeros(2, 3), torch.ones(4, 3), None, torch.tensor([2, 0]))
    tensor(1.3863)
    """
    loss: Tensor = _AllItems.apply(hidden, keys, bias, targets)
    return loss


class _AllItems(torch.autograd.Function):
    """Forms the gradients in the forward pass, block by block: the scores are needed once, and not kept."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, keys: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        wide = torch.promote_types(keys.dtype, torch.float32)  # sums over blocks
        to_hidden, to_keys = torch.empty_like(hidden), torch.zeros_like(keys, dtype=wide)
        to_bias = None if bias is None else torch.zeros_like(bias, dtype=wide)
        cells = CELLS * (1 if hidden.device.type == "cpu" else 16)
        block = max(1, cells // len(keys), min(ROWS, MOST // len(keys)))
        for start in range(0, len(hidden), block):
            rows, of = hidden[start : start + block], targets[start : start + block, None]
            scores = rows @ keys.T if bias is None else torch.addmm(bias, rows, keys.T)
            scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
            most, observed = scores.amax(1, keepdim=True), scores.gather(1, of)
            share = scores.sub_(most).exp_()  # once, for the norm and for the gradients
            norm = share.sum(1, keepdim=True)
            total += (norm.log() + (most - observed)).sum()  # in this order: log N is lost beside a score of 1e7
            if wanted:
                share.div_(norm)
                share.scatter_add_(1, of, torch.full_like(of, -1, dtype=share.dtype))
                if to_bias is not None:
                    to_bias += share.sum(0)
                share = share.to(keys.dtype)
                to_hidden[start : start + block] = share @ keys
                to_keys += share.T @ rows
        ctx.save_for_backward(to_hidden, to_keys.to(keys.dtype), None if to_bias is None else to_bias.to(keys.dtype))
        ctx.count = max(1, len(hidden))  # of no positions the loss is 0
        return (total / ctx.count).to(torch.promote_types(hidden.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0] / ctx.count
        return *(None if g is None else g * scale.to(g.dtype) for g in ctx.saved_tensors), None
