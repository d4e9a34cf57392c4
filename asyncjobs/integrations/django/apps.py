"""The Django application: its commands, and the schema of asyncjobs at `manage.py migrate`."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AsyncJobsConfig(AppConfig):
    """``INSTALLED_APPS = [..., "asyncjobs.integrations.django"]``."""

    name = "asyncjobs.integrations.django"
    label = "asyncjobs"
    verbose_name = "asyncjobs"

    def ready(self) -> None:
        """Have the schema follow Django's migrations."""
        post_migrate.connect(migrate, sender=self, dispatch_uid="asyncjobs.migrate")


def migrate(*, using: str, verbosity: int = 1, **_: Any) -> None:
    """Bring the schema of asyncjobs up to date in a database of which it is a backend's, test databases included."""
    import asyncio

    from django.db import connections

    from asyncjobs.integrations.django.api import task_backends
    from asyncjobs.integrations.django.backend import Backend
    from asyncjobs.integrations.django.database import url_of
    from asyncjobs.migration import migrate as bring_up_to_date

    backends = [backend for backend in task_backends.all() if isinstance(backend, Backend)]
    if not any(backend.database == using and backend.options.get("migrate", True) for backend in backends):
        return
    applied = asyncio.run(bring_up_to_date(url_of(using, connections[using].settings_dict)))
    if verbosity:
        for name in applied:
            print(f"  Applied {name} of asyncjobs")
