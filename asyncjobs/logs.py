"""Log lines of the command line: text on a terminal, JSON elsewhere. The library itself never sets up logging."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from asyncjobs.checks.foreign_texts import harmless_json, harmless_lines

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def configure(level: str, log_format: str | None, stream: TextIO | None = None) -> None:
    """Send every record of this process at or above `level` to `stream`, in place of earlier handlers.

    Args:
        level: "debug", "info", "warning", "error" or "critical".
        log_format: "text" or "json"; None: text on a terminal, else JSON; "none": logging is not set up.
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
    """Let code imported inside the block set up logging: by `dictConfig`, `basicConfig`, or a handler of the root logger.

    If it gives the root logger a handler, asyncjobs's handler stays away, so that no line is doubled; else it comes back.
    """
    root = logging.getLogger()
    ours = root.handlers[:]
    root.handlers.clear()  # `basicConfig` does nothing beside another handler
    last_resort = logging.lastResort
    if ours:
        logging.lastResort = ours[0]  # for log lines inside the block
    try:
        yield
    finally:
        logging.lastResort = last_resort
        if not root.handlers:
            root.handlers[:] = ours
        speak_up()


def speak_up() -> None:
    """Enable the loggers of asyncjobs and of warnings again after a `dictConfig` with `disable_existing_loggers`.

    That is its default, and hardly anybody means it: the worker would not even log that a job failed. To have fewer lines,
    give the logger "asyncjobs" a level.
    """
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.partition(".")[0] in ("asyncjobs", "py") and isinstance(logger, logging.Logger):
            logger.disabled = False


def wants_colours(stream: TextIO) -> bool:
    """Whether `stream` is a terminal, and NO_COLOR is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def extras(record: logging.LogRecord) -> dict[str, object]:
    """Return the ``extra=`` of the log call."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class TextLines(logging.Formatter):
    """One line a record: local time, level, logger, message; further lines of the message are indented."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback."""
        return "\n  ".join([self._line(record), *map(harmless_lines, self._below(record))])

    def _below(self, record: logging.LogRecord) -> list[str]:
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return [text.rstrip("\n") for text in (record.exc_text, record.stack_info) if text]

    def _line(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        text = f"{clock}.{int(record.msecs):03d} {record.levelname:<8} {record.name}: {_with_job(record)}"
        line = harmless_lines(text)
        colour = _COLOURS.get(record.levelname)
        return f"\x1b[{colour}m{line}\x1b[0m" if self._colours and colour else line


def _with_job(record: logging.LogRecord) -> str:
    """Return the message, and behind it the job in whose code it was logged, as `JobFilter` has noted it."""
    message = record.getMessage()
    kind, job_id, attempt = (getattr(record, f"job_{name}", None) for name in ("kind", "id", "attempt"))
    if kind is None or attempt is None or str(job_id) in message:
        return message
    return f"{message} [{kind} {job_id} attempt {attempt}]"


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
            line["exception"] = record.exc_text or self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return harmless_json(json.dumps(line, default=str, ensure_ascii=False))


_TEXTS = (
    "pathname",
    "filename",
    "module",
    "funcName",
    "processName",
    "threadName",
    "taskName",
    "exc_text",
    "stack_info",
)
_NUMBERS = ("lineno", "created", "msecs", "relativeCreated", "process", "thread")
LONGEST = 1_000_000
"""Characters of a text that is passed from one process to another."""


def carried(record: logging.LogRecord) -> dict[str, Any]:
    """Return a record as plain JSON, for another process of this program; see `arrived`.

    A message that is a dictionary, as structlog's, stays one. A value that JSON has no form for is replaced by its `repr`.
    """
    values = dict(vars(record))
    if record.exc_info and not record.exc_text:
        values["exc_text"] = logging.Formatter().formatException(record.exc_info)
    given = extras(record)
    loggers = {key: value.name for key, value in given.items() if isinstance(value, logging.Logger)}
    return {
        "name": record.name[:LONGEST],
        "level": record.levelno,
        "message": _plain(record.msg) if isinstance(record.msg, dict) else record.getMessage()[:LONGEST],
        "fields": {name: _plain(values.get(name)) for name in (*_TEXTS, *_NUMBERS)},
        "extra": {key: _plain(value) for key, value in given.items() if key not in loggers},
        "loggers": loggers,
    }


def arrived(carried: Any) -> logging.LogRecord:
    """Return the record that `carried` was made of, with its final message: nothing is formatted again.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: `carried` is no such record.
    """
    given = {key: value for key, value in carried["extra"].items() if key not in _STANDARD}
    given |= {key: logging.getLogger(str(name)) for key, name in carried["loggers"].items() if key not in _STANDARD}
    fields = carried["fields"]
    texts = {name: fields[name] for name in _TEXTS if isinstance(fields[name], str | None)}
    numbers = {name: fields[name] for name in _NUMBERS if type(fields[name]) in (int, float)}
    level, message = int(carried["level"]), carried["message"]
    if not isinstance(message, str | dict):
        raise TypeError("a message is a text or a dictionary")
    found = {**given, **texts, **numbers, "name": str(carried["name"]), "levelno": level, "msg": message, "args": None}
    return logging.makeLogRecord({**found, "levelname": logging.getLevelName(level), "exc_info": None})


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value[:LONGEST]
    if isinstance(value, int | float | None):
        return value
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return repr(value)[:LONGEST]
