"""The extra `web`, and what is said where it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from asyncjobs.exceptions import InvalidCall

NEEDED = ("starlette", "jinja2", "uvicorn")


def check_extra() -> None:
    """Refuse to go on without the libraries of the dashboard.

    Raises:
        InvalidCall: One of them is not installed; the message has the command.
    """
    if lacking := [name for name in NEEDED if find_spec(name) is None]:
        raise InvalidCall(f"the dashboard needs {', '.join(lacking)}: pip install 'asyncjobs-pg[web]'")
