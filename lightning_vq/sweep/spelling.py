"""Parameters and options of trials for a reader: in the terminal, in logs and in figures."""

import json
from contextlib import suppress
from typing import Any

from lightning_vq.sweep.space import short


def shown(value: Any) -> str:
    """Return a parameter's value for a narrow column.

    >>> shown(0.00123456), shown([500, 10]), shown("kmeans"), shown(3)
    ('0.00123', '[500, 10]', 'kmeans', '3')
    >>> one = '{"class_path": "lightning_vq.quantizers.MGQE", "init_args": {"centroids": [64, 16], "shared": false}}'
    >>> shown(f'{{"user": {one}, "item": {one}}}'), shown("{}")
    ('user, item: MGQE(centroids=[64, 16], shared=false)', 'none')
    """
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, str) and value[:1] in "{[":  # a choice of a categorical parameter
        with suppress(ValueError):
            return _spelled(json.loads(value))
    return str(value)


def told_options(options: list[str]) -> list[str]:
    """Return options of `fit` for a reader, sizes spelled out.

    >>> told_options(["--model.init_args.lr=0.00123456", "--a.item.sizes=[54, 7]", "--a.user.sizes=[54, 7]"])
    ['lr 0.00123', 'item.sizes [54, 7]', 'user.sizes [54, 7]']
    >>> told_options(["--data.init_args.source=planted", "--model.init_args.weight_decay=1.25e-06"])
    ['source planted', 'weight_decay 1.25e-06']
    """
    pairs = [text.removeprefix("--").split("=", 1) for text in options]
    return [f"{name} {_told(value)}" for name, (_, value) in zip(short([key for key, _ in pairs]), pairs)]


def _told(value: str) -> str:
    with suppress(ValueError):  # a word
        number = json.loads(value)
        return shown(number if isinstance(number, float) else value)
    return value


def _spelled(value: Any) -> str:
    """Return a value of JSON as one would say it: a class by its name, keys of equal values together."""
    if not isinstance(value, dict):
        return json.dumps(value)
    if "class_path" in value:
        given = ", ".join(f"{key}={_spelled(one)}" for key, one in (value.get("init_args") or {}).items())
        return f"{value['class_path'].rpartition('.')[2]}({given})"
    keys: dict[str, list[str]] = {}
    for key, one in value.items():
        keys.setdefault(_spelled(one), []).append(key)
    return "; ".join(f"{', '.join(names)}: {told}" for told, names in keys.items()) or "none"
