"""Tasks of a module that no worker imports before it performs one of them."""

from __future__ import annotations

from typing import Any

import django

from asyncjobs import current_attempt, retry_on

if django.VERSION >= (6, 0):
    from django.tasks import task
else:
    from django_tasks import task


@task
def kind() -> str:
    return current_attempt().job.kind


@task
async def kind_async() -> str:
    return current_attempt().job.kind


@task
@retry_on(ConnectionError)
def with_policy() -> Any: ...
