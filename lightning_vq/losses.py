"""Training losses of the ranking families, a formula each. Shapes: B batch, C candidates, D dim."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

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


def bpr(scores: Tensor) -> Tensor:
    """Bayesian personalized ranking, -mean log sigmoid(s_b0 - s_bj) over rows b and negatives j >= 1.

    Args:
        scores: (B, 1 + negatives), column 0 the observed item.

    Source: Rendle et al., UAI 2009, section 4.1, without the regularizer (weight decay is the optimizer's).
    """
    return -logsigmoid(scores[:, :1] - scores[:, 1:]).mean()
