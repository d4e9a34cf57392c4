"""`manage.py asyncjobs_run`: perform Django's tasks, by `asyncjobs run`."""

from __future__ import annotations

from asyncjobs.integrations.django.management.commands import asyncjobs


class Command(asyncjobs.Command):
    """Becomes `asyncjobs run` with the tasks of this project."""

    help = "Perform tasks until SIGTERM or Ctrl-C; takes the options of `asyncjobs run`."
    words = ("run",)
