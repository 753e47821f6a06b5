"""Training losses of the ranking families, a formula each, of scores (B, C) whose column 0 is the observed item.

Shapes: B batch, C = 1 + negatives candidates, D dim, N items. All are means over the rows of the batch.
"""

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
