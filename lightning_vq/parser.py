"""A parser of the command line whose complaints are one line. A host that serves imports nothing else for it."""

import argparse
from typing import NoReturn

from lightning_vq.errors import UserError


class Parser(argparse.ArgumentParser):
    """The parser of the verbs that run no Trainer: it raises instead of exiting.

    Raises:
        UserError: arguments that it does not know or cannot read.
    """

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}")
