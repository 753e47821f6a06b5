"""Which metrics are the better the lower they are."""

LOSSES = frozenset({"logloss", "ece", "rmse", "mae", "mse", "rmse_of_mean", "distortion"})


def lower_is_better(metric: str) -> bool:
    """Return whether less of a metric is better, named with or without its stage, cut-off and protocol.

    >>> [lower_is_better(name) for name in ("val/rmse", "test/logloss", "mse/user", "val/ndcg@10/full", "gauc/user")]
    [True, True, True, False, False]
    """
    bare = metric.removeprefix("val/").removeprefix("test/")
    return bare.partition("/")[0].partition("@")[0] in LOSSES


def mode(metric: str) -> str:
    """Return what the best epoch has of a metric, in the words of Lightning and W&B: "min" or "max"."""
    return "min" if lower_is_better(metric) else "max"
