"""How processes of a node log: structlog to standard error, as text for people or as JSON lines for machines."""

import logging
import os
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

from node.config import LogSection


class _StandardError:
    """Standard error, as far as a log needs it, and allowed to fail: it may be a file on the very disk whose want of
    room is to be said, or a pipe that nobody reads any more.

    It is written past Python's buffer, which would keep what failed and fail with it again, at last in the exit code.
    """

    def write(self, text: str) -> None:
        with suppress(OSError):
            os.write(sys.stderr.fileno(), text.encode(errors="backslashreplace"))

    def flush(self) -> None:
        pass


STANDARD_ERROR = cast(TextIO, _StandardError())
"""Where a process of a node says what it ends of."""


def configure_logs(section: LogSection, **context: str) -> None:
    """Set the process's logging up. `context` stands in every line."""
    as_json = section.format == "json"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer()
            if as_json
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[section.level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=STANDARD_ERROR),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**context)
