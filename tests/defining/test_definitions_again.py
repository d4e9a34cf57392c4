"""One kind, one definition: a second one is refused, the same one again replaces the first."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from asyncjobs import InvalidDefinition, job
from asyncjobs.defining import registry

BODY = """\
from asyncjobs import Job, job

@job
async def send() -> int:
    return {value}

class Mail(Job):
    async def perform(self) -> int:
        return {value}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """Write an importable module that is forgotten at the end."""
    monkeypatch.syspath_prepend(tmp_path)
    written: list[str] = []

    def write(name: str, text: str) -> Path:
        written.append(name)
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    yield write
    for name in written:
        sys.modules.pop(name, None)


def reload(module: ModuleType) -> ModuleType:
    # A cached .pyc is told by size and second of change: a test writes faster than that.
    Path(importlib.util.cache_from_source(module.__file__)).unlink(missing_ok=True)
    return importlib.reload(module)


async def test_a_reload_replaces(write: Callable[[str, str], Path]) -> None:
    path = write("again_reload", BODY.format(value=1))
    module = importlib.import_module("again_reload")
    path.write_text("\n\n\n# moved\n" + BODY.format(value=2))
    module = reload(module)
    for kind in ("again_reload.send", "again_reload.Mail"):
        definition = registry.find(kind)
        assert definition is not None
        assert await definition.load("{}").perform_now() == 2


def test_a_reload_many_times_over_replaces_each_time(write: Callable[[str, str], Path]) -> None:
    path = write("again_often", BODY.format(value=0))
    module = importlib.import_module("again_often")
    for number in range(5):
        path.write_text("\n" * number + BODY.format(value=number))
        module = reload(module)
        assert registry.find("again_often.send") is module.send._definition


def test_an_import_after_the_module_was_forgotten_replaces(write: Callable[[str, str], Path]) -> None:
    write("again_forgotten", BODY.format(value=1))
    importlib.import_module("again_forgotten")
    del sys.modules["again_forgotten"]
    importlib.import_module("again_forgotten")


def test_two_of_one_name_in_a_module_are_refused(write: Callable[[str, str], Path]) -> None:
    write("again_twice", BODY.format(value=1) + BODY.format(value=2))
    with pytest.raises(InvalidDefinition, match=r"'again_twice.send' is defined twice: .*again_twice.py:3.*:12"):
        importlib.import_module("again_twice")


def test_a_reload_that_brings_a_second_one_is_refused(write: Callable[[str, str], Path]) -> None:
    path = write("again_grown", BODY.format(value=1))
    module = importlib.import_module("again_grown")
    path.write_text(BODY.format(value=1) + BODY.format(value=2))
    with pytest.raises(InvalidDefinition, match="defined twice"):
        reload(module)


def test_one_kind_in_two_modules_is_refused_and_both_are_named(write: Callable[[str, str], Path]) -> None:
    text = "from asyncjobs import job\n\n@job(kind='again.shared')\nasync def {name}() -> None: ...\n"
    write("again_one", text.format(name="first"))
    write("again_two", text.format(name="second"))
    importlib.import_module("again_one")
    with pytest.raises(InvalidDefinition, match=r"again_one\.first .*again_two\.second .*kind="):
        importlib.import_module("again_two")
    found = registry.find("again.shared")
    assert found is not None
    assert found.source.module == "again_one"


def test_a_cell_that_is_run_again_replaces() -> None:
    cell = "from asyncjobs import job\n@job(kind='again.cell')\nasync def cell() -> int:\n    return {value}\n"
    namespace = {"__name__": "again_notebook"}
    exec(compile(cell.format(value=1), "<ipython-input-1>", "exec"), namespace)  # run
    exec(compile(cell.format(value=1), "<ipython-input-1>", "exec"), namespace)  # run again
    exec(compile("\n\n" + cell.format(value=2), "<ipython-input-2>", "exec"), namespace)  # edited and run
    found = registry.find("again.cell")
    assert found is not None
    assert found.source.file == "<ipython-input-2>"


def test_a_definition_in_a_function_that_is_called_again_replaces() -> None:
    def define() -> object:
        @job(kind="again.factory")
        async def made() -> None: ...

        return made._definition

    define()
    assert define() is registry.find("again.factory")


def test_two_different_functions_of_one_kind_in_one_function_are_refused() -> None:
    @job(kind="again.different")
    async def first() -> None: ...

    with pytest.raises(InvalidDefinition, match="defined twice"):

        @job(kind="again.different")
        async def second() -> None: ...
