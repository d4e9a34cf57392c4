from __future__ import annotations

import dataclasses
from types import ModuleType
from typing import Any

import pytest
import stopping

from asyncjobs.worker.job_processes import forking_process


@pytest.fixture
def gate() -> None:
    """A closed gate of this test's own, and nothing that has run; see `stopping`."""
    stopping.begin()


@pytest.fixture(autouse=True)
def processes_of_this_module(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Processes of jobs import this module and what it has of others: with all that pytest has collected it is seconds."""
    recipe = forking_process.recipe

    def shorter(*given: Any) -> forking_process.Recipe:
        found = recipe(*given)
        mine = {each.__name__ if isinstance(each, ModuleType) else each.__module__ for each in _held(request.module)}
        return dataclasses.replace(found, modules=[name for name in found.modules if name in mine])

    monkeypatch.setattr(forking_process, "recipe", shorter)


def _held(module: ModuleType) -> list[Any]:
    return [
        module,
        *(each for each in vars(module).values() if isinstance(each, ModuleType) or hasattr(each, "__module__")),
    ]
