"""What a reader of a user's files says of those it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightning_vq.errors import UserError


def refusal_of(read: Callable[..., Any], path: Path, **options: Any) -> str:
    """Return the one line that `read(path, **options)` refuses with, less the path that it must begin with."""
    with pytest.raises(UserError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))
