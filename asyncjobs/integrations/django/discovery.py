"""The modules that every worker imports: `tasks` of each application and of the project, and what `imports` names."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from types import ModuleType

from django.apps import apps
from django.conf import settings
from django.utils.module_loading import import_string

from asyncjobs.integrations.django.api import Task


def task_modules() -> list[str]:
    """Return the names of the modules `tasks`, whether they exist or not."""
    project = getattr(settings, "SETTINGS_MODULE", None) or ""
    packages = [app.name for app in apps.get_app_configs()]
    if "." in project:
        packages.append(project.partition(".")[0])
    return [f"{package}.tasks" for package in dict.fromkeys(packages)]


def is_known(module: str, imports: Sequence[str]) -> bool:
    """Whether every worker imports a module: so that each of its tasks can have a kind of its own."""
    return module in imports or any(module == name or module.startswith(f"{name}.") for name in task_modules())


def import_known(imports: Sequence[str]) -> Iterator[ModuleType]:
    """Import every module of tasks that there is, modules inside a package `tasks` included, and yield it."""
    for name in task_modules():
        if find_spec(name) is not None:
            module = importlib.import_module(name)
            yield module
            for inner in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
                yield importlib.import_module(inner.name)
    for name in imports:
        yield importlib.import_module(name)


def tasks_of(module: ModuleType) -> Iterator[Task]:
    """Yield the tasks of a module, each once, under the names by which they can be imported."""
    for name, value in list(vars(module).items()):
        if isinstance(value, Task) and value.module_path == f"{module.__name__}.{name}":
            yield value


def find(path: str) -> Task | None:
    """Import a task by its path; None: what stands there is no task.

    Raises:
        ImportError: Nothing stands there.
    """
    found = import_string(path)
    return found if isinstance(found, Task) else None
