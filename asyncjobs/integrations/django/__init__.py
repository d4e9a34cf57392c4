"""A backend for Django's tasks, on PostgreSQL; needs the extra `django`.

::

    INSTALLED_APPS = [..., "asyncjobs.integrations.django"]
    TASKS = {"default": {"BACKEND": "asyncjobs.integrations.django.Backend"}}

A task is stored by the connection of the request, and in its transaction. `manage.py asyncjobs_run` performs tasks.
"""

from __future__ import annotations

from asyncjobs.integrations.django.backend import Backend

__all__ = ["Backend"]
