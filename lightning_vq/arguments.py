"""The parser of the verbs that run no Trainer: what it cannot read is one line, as all that a user can mend."""

import argparse
from typing import NoReturn

from lightning_vq.errors import UserError


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises instead of exiting.

    Raises:
        UserError: arguments that it does not know or cannot read.
    """

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}")
