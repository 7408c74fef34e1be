"""What a module logs, whatever a test before this one made of the process's logging.

A logger that was used once may keep the level and the processors of then, so the module is given
one that knows of neither.
"""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import structlog
from structlog.testing import LogCapture


@contextmanager
def logged_by(module: ModuleType) -> Iterator[list[MutableMapping[str, Any]]]:
    """The events of `module`'s own logger, of every level, as they come."""
    capture = LogCapture()
    logger = structlog.wrap_logger(
        None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    with patch.object(module, "_log", logger):
        yield capture.entries
