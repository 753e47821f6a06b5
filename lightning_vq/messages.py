"""Turns a parser's pages of complaint into one line that names the key and the nearest right one."""

import re
from collections.abc import Iterable

from jsonargparse import ArgumentParser

from lightning_vq.errors import nearest


def known_keys(parser: ArgumentParser) -> list[str]:
    """Return every dotted key of a parser, without leading dashes."""
    return [option.lstrip("-") for action in parser._actions for option in action.option_strings]


def one_line(message: str, parser: ArgumentParser) -> str:
    """Return the first sentence of a parser's message, with a suggestion where a key is unknown."""
    text = " ".join(line.strip() for line in message.splitlines() if line.strip())
    text = re.sub(r"^(Parser key|Validation failed:|error:)\s*", lambda m: "key " if "key" in m[1] else "", text)
    for pattern in (r"[Uu]nrecognized arguments: (?:--)?([\w.]+)", r"Key '([\w.]+)' is not expected", r"No action for key '([\w.]+)'"):
        found = re.search(pattern, text)
        if found:
            return f"unknown key {found[1]!r}{_suggest(found[1], known_keys(parser))}"
    return text if len(text) < 500 else text[:500] + " ..."


def _suggest(key: str, keys: Iterable[str]) -> str:
    here = key.rpartition(".")[0]
    siblings = [k for k in keys if k.rpartition(".")[0] == here] or list(keys)
    hint = nearest(key, siblings)
    return hint if len(hint) < 200 else ""
