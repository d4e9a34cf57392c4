"""`manage.py asyncjobs …`: any command of asyncjobs, with the database and the settings of Django's TASKS."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, ClassVar, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, handle_default_options
from django.db import connections

from asyncjobs.exceptions import InvalidSettings
from asyncjobs.integrations.django.api import task_backends
from asyncjobs.integrations.django.backend import Backend
from asyncjobs.integrations.django.database import url_of

WORKER = "asyncjobs.integrations.django.worker"


class Command(BaseCommand):
    """Becomes the program `asyncjobs`, in this process."""

    help = "Run a command of asyncjobs, such as `manage.py asyncjobs status`, with the database of Django's settings."
    requires_system_checks: ClassVar[list[str]] = []
    words: tuple[str, ...] = ()
    """What stands before the words of the caller."""

    def run_from_argv(self, argv: list[str]) -> None:
        """Take Django's own options out, and leave all others to asyncjobs."""
        parser = CommandParser(prog=f"{argv[0]} {argv[1]}", add_help=False, allow_abbrev=False)
        parser.add_argument("--settings")
        parser.add_argument("--pythonpath")
        parser.add_argument("--backend")
        found, words = parser.parse_known_args(argv[2:])
        handle_default_options(found)
        try:
            self.handle(*words, backend=found.backend)
        except CommandError as error:
            self.stderr.write(f"asyncjobs: {error}")
            sys.exit(2)

    def handle(self, *words: str, backend: str | None = None, **_: Any) -> NoReturn:
        """Run the command to its end; this process is no longer Django's."""
        environment = environment_of(chosen(backend))
        sys.stdout.flush()
        command = [sys.executable, "-m", "asyncjobs", *self.words, *words]
        os.execve(sys.executable, command, {**os.environ, **environment})  # noqa: S606 - words, and no shell


def chosen(alias: str | None) -> Backend:
    """Return the backend of an alias of TASKS; None: the only one of asyncjobs that there is."""
    ours = {name: found for name in task_backends if isinstance(found := task_backends[name], Backend)}
    if alias in ours:
        return ours[alias]
    if alias is None and len(ours) == 1:
        return next(iter(ours.values()))
    if not ours:
        raise CommandError(
            'TASKS has no backend of asyncjobs: set {"BACKEND": "asyncjobs.integrations.django.Backend"}'
        )
    raise CommandError(f"which? give --backend with one of {', '.join(ours)}")


def environment_of(backend: Backend) -> dict[str, str]:
    """Return the variables by which a command of asyncjobs has the settings of a backend."""
    module = getattr(settings, "SETTINGS_MODULE", None)
    if module is None:
        raise CommandError("a worker needs the name of the settings: set DJANGO_SETTINGS_MODULE")
    found = {f"ASYNCJOBS_{key.upper()}": _text(value) for key, value in backend.given.items()}
    try:
        found["ASYNCJOBS_IMPORTS"] = _text([WORKER, *(name for name in backend.settings.imports if name != WORKER)])
    except InvalidSettings as error:
        raise CommandError("\n".join(error.problems)) from None
    if not (found.get("ASYNCJOBS_DATABASE_URL") or os.environ.get("ASYNCJOBS_DATABASE_URL")):
        try:
            found["ASYNCJOBS_DATABASE_URL"] = url_of(backend.database, connections[backend.database].settings_dict)
        except InvalidSettings as error:
            raise CommandError(str(error)) from None
    # Where manage.py lies, which the new interpreter is not told.
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))
    return {**found, "DJANGO_SETTINGS_MODULE": module}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
