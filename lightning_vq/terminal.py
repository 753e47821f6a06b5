"""Where tables are printed."""

import sys

from rich.console import Console


def console(width: int) -> Console:
    """Return a console as wide as the terminal; elsewhere one of `width` columns, without colours.

    Jupyter has Rich take its pipe for a terminal of 80 columns (FORCE_COLOR): tables would be squeezed into them.
    """
    here = sys.stdout.isatty()
    return Console(width=None if here else width, force_terminal=here)
