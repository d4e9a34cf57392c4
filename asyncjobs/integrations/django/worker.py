"""What a worker of Django's tasks imports: it sets Django up, and defines the kinds of all tasks.

``manage.py asyncjobs_run`` names it, and by hand, where DJANGO_SETTINGS_MODULE is set,
``asyncjobs run asyncjobs.integrations.django.worker``.
"""

from __future__ import annotations

from itertools import chain

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from asyncjobs.integrations.django import Backend, discovery
from asyncjobs.integrations.django.api import task_backends
from asyncjobs.integrations.django.performing import define_all

_imports = dict.fromkeys(
    name for backend in task_backends.all() if isinstance(backend, Backend) for name in backend.settings.imports
)
_imports.pop(__name__, None)
define_all(chain.from_iterable(map(discovery.tasks_of, discovery.import_known(list(_imports)))))
