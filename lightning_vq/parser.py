"""A parser of the command line whose complaints are one line. A host that serves imports nothing else for it."""

import argparse
import re
from typing import NoReturn

from lightning_vq.errors import UserError, nearest


class Parser(argparse.ArgumentParser):
    """The parser of the verbs that run no Trainer: it raises instead of exiting.

    Raises:
        UserError: arguments that it does not know or cannot read.
    """

    def error(self, message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        if unknown:
            message = f"there is no option {unknown[1]}{nearest(unknown[1], self._options())}"
        raise UserError(f"{self.prog}: {message}")

    def _options(self) -> list[str]:
        """Return all options, those of its verbs too."""
        verbs = [action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        parsers = [self, *(parser for choices in verbs for parser in choices.values())]
        long = {text for parser in parsers for action in parser._actions for text in action.option_strings}
        return sorted(text for text in long if text.startswith("--"))
