"""Log lines of the command line: for people on a terminal, as JSON elsewhere. The library itself never sets up logging."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def configure(level: str, log_format: str | None, stream: TextIO | None = None) -> None:
    """Send every record of this process at or above `level` to `stream`, replacing what was set up before.

    Args:
        level: "debug", "info", "warning", "error" or "critical".
        log_format: "text" or "json"; None: text on a terminal, else JSON; "none": nothing is set up.
        stream: None: standard error.
    """
    if log_format == "none":
        return
    stream = stream or sys.stderr
    if log_format is None:
        log_format = "text" if stream.isatty() else "json"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines(colours=wants_colours(stream)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)


@contextmanager
def theirs_first() -> Iterator[None]:
    """Let what is imported inside the block set up logging: by `dictConfig`, `basicConfig`, or a handler of the root logger.

    Where it has given the root logger a handler, ours is gone, so that no line is doubled; else it stands there as before.
    """
    root = logging.getLogger()
    ours = root.handlers[:]
    root.handlers.clear()  # `basicConfig` does nothing beside another handler
    last_resort = logging.lastResort
    if ours:
        logging.lastResort = ours[0]  # for the lines until then
    try:
        yield
    finally:
        logging.lastResort = last_resort
        if not root.handlers:
            root.handlers[:] = ours
        speak_up()


def speak_up() -> None:
    """Have our loggers, and that of warnings, speak again that a `dictConfig` with `disable_existing_loggers` has silenced.

    That is its default, and meant by hardly anybody: the worker would not even say that a job failed. Who wants less of it
    gives the logger "asyncjobs" a level.
    """
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0] in ("asyncjobs", "py") and isinstance(logger, logging.Logger):
            logger.disabled = False


def wants_colours(stream: TextIO) -> bool:
    """Whether `stream` is a terminal whose user has not said NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def extras(record: logging.LogRecord) -> dict[str, object]:
    """Return what was given to the log call as ``extra=``."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class TextLines(logging.Formatter):
    """One line a record: local time, level where it is not info, logger, message."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        """Return the line without its traceback."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock}.{int(record.msecs):03d} {record.levelname:<8} {record.name}: {record.message}"
        colour = _COLOURS.get(record.levelname)
        return f"\x1b[{colour}m{line}\x1b[0m" if self._colours and colour else line


class JsonLines(logging.Formatter):
    """One JSON object a record: timestamp (UTC), level, logger, message, the extra fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; a value that JSON has no form for is shown as text."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "timestamp": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in extras(record).items():
            line.setdefault(key, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class Carried:
    """A record on its way to another process of this program: unpickled there, it is the dictionary of a record.

    Message and arguments arrive as they are, since formatters and filters look at them (structlog's message is a
    dictionary); where they cannot, the line arrives as text.
    """

    def __init__(self, record: logging.LogRecord) -> None:
        values = dict(vars(record), exc_info=None)
        if record.exc_info and not record.exc_text:
            values["exc_text"] = logging.Formatter().formatException(record.exc_info)
        self._plain = {k: v if isinstance(v, str | int | float | None) else repr(v) for k, v in values.items()}
        self._plain.update(msg=record.getMessage(), args=None)
        try:
            self._whole = pickle.dumps(values)
        except Exception:  # a lock in an argument, a class inside a function, somebody's own __reduce__
            self._whole = b""

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self._whole, self._plain)


class _Known(pickle.Unpickler):
    """Imports nothing: the program that runs as `__main__` here has another name there, and would begin anew."""

    def find_class(self, module: str, name: str) -> Any:
        if module not in sys.modules:
            raise pickle.UnpicklingError(module)
        return super().find_class(module, name)


def _arrived(whole: bytes, plain: dict[str, Any]) -> dict[str, Any]:
    try:
        values: dict[str, Any] = _Known(io.BytesIO(whole)).load()
    except Exception:
        return plain
    return values
