"""One kind, one definition: a second one is refused, the same one again replaces the first."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asyncjobs import InvalidDefinition, Job, Limit, Rate, Unique, job, step
from asyncjobs.definitions import registry

BODY = """\
from asyncjobs import Job, job

@job
async def send() -> int:
    return {value}

class Mail(Job):
    async def perform(self) -> int:
        return {value}
"""

CLOSING = """\
from asyncjobs import job

def make(factor):
    @job(kind="again.closing")
    async def scale(n: int) -> int:
        return n * factor
    return scale

scale = make({value})
"""

DECORATED = """\
import functools
from asyncjobs import job

def logged(function):
    @functools.wraps(function)
    async def inner():
        return await function()
    return inner

@job(kind="again.edited")
@logged
async def cell() -> int:
    return {value}
"""


async def at_module_level(n: int) -> str: ...


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Definitions of modules that are gone afterwards: a process of jobs could import them no more."""
    before = registry.by_name()
    yield
    for name in registry.by_name().keys() - before.keys():
        del registry._definitions[name]


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


def make_scale(factor: Any) -> Any:
    @job(kind="again.scale")
    async def scale(n: int) -> Any:
        return n, factor

    return scale


def made_on_one_line(*functions: Any) -> list[Any]:
    return [job(kind="again.made_on_one_line")(function) for function in functions]


def wrapped(store: str) -> Any:
    @functools.wraps(at_module_level)
    async def inner(n: int) -> str:
        return store * n

    return inner


def test_two_that_one_line_makes_and_that_close_over_other_values_are_refused() -> None:
    first = make_scale(2)
    with pytest.raises(InvalidDefinition, match=r"'again.scale' is defined twice: .*which differ in 'factor'.*kind="):
        make_scale(3)
    assert registry.find("again.scale") is first._definition
    with pytest.raises(InvalidDefinition, match=r"at_module_level.*which differ in 'store'"):
        [job(kind="again.stores")(wrapped(store)) for store in ("north", "south")]
    with pytest.raises(InvalidDefinition, match=r"by .*later .* and by .*at_module_level"):
        made_on_one_line(later, at_module_level)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: {"a": [datetime(2026, 1, 1, tzinfo=UTC)]}, id="equal values"),
        pytest.param(lambda: wrapped("north"), id="functions"),
        pytest.param(lambda: [functools.partial(print, 1), *made_again()], id="what is made in a function"),
    ],
)
def test_one_that_closes_over_the_same_replaces(make: Callable[[], Any]) -> None:
    registry._definitions.pop("again.scale", None)
    make_scale(make())
    assert make_scale(make())._definition is registry.find("again.scale")


def made_again() -> list[Any]:
    class Helper:
        def help(self) -> int:
            return helped()

    def helped() -> int:
        return 5

    @functools.cache
    def cached() -> Helper:
        return Helper()

    @job(kind="again.other")
    async def other() -> None:
        await other().enqueue()  # its own name is bound after it

    return [Helper, cached, other, later]


def later() -> None: ...


def test_classes_that_one_line_makes_are_told_apart_by_what_they_close_over() -> None:
    def make(factor: int, offset: int = 0) -> Any:
        class Scale(Job, kind="again.Scale"):
            n: int
            by = offset

            async def perform(self) -> int:
                return self.n * factor + self.by

        return Scale

    make(2)
    assert make(2)._definition is registry.find("again.Scale")
    for other in (lambda: make(3), lambda: make(2, offset=1)):
        with pytest.raises(InvalidDefinition, match="'again.Scale' is defined twice"):
            other()


def by_base(store: str) -> Any:
    class Base(Job[str], abstract=True):
        async def perform(self) -> str:
            return store

    class Sync(Base, kind="again.by"): ...

    return Sync


def by_mix_in(store: str) -> Any:
    class Mixed:
        async def perform(self) -> str:
            return store

    class Sync(Mixed, Job[str], kind="again.by"): ...

    return Sync


def by_condition(store: str) -> Any:
    class Sync(Job, kind="again.by"):
        @step(when=lambda self: bool(store))
        async def one(self) -> None: ...

    return Sync


def by_key(store: str) -> Any:
    @job(kind="again.by", unique=Unique(by=lambda made: store))
    async def sync() -> None: ...

    return sync


def by_queue(store: str) -> Any:
    @job(kind="again.by", queue=lambda made: store)
    async def sync() -> None: ...

    return sync


def by_option(store: str) -> Any:
    @job(kind="again.by", timeout=len(store), concurrency=Limit(1, key="a"), rate_limit=Rate(1, per=1, key="b"))
    async def sync() -> None: ...

    return sync


@pytest.mark.parametrize("make", [by_base, by_mix_in, by_condition, by_key, by_queue, by_option])
def test_what_two_of_one_line_differ_in_may_be_a_base_a_condition_or_an_option(make: Callable[[str], Any]) -> None:
    registry._definitions.pop("again.by", None)
    make("north")
    assert make("north")._definition is registry.find("again.by")
    with pytest.raises(InvalidDefinition, match="'again.by' is defined twice: .*which differ in"):
        make("south of it")


async def test_a_reload_replaces_whatever_it_closes_over(write: Callable[[str, str], Path]) -> None:
    path = write("again_closing", CLOSING.format(value=1))
    module = importlib.import_module("again_closing")
    path.write_text(CLOSING.format(value=2))
    module = reload(module)
    assert await module.scale(10).perform_now() == 20


def test_an_edited_function_under_a_decorator_replaces_in_its_cell() -> None:
    namespace = {"__name__": "again_edited"}
    for value in (1, 2):
        exec(compile(DECORATED.format(value=value), "<stdin>", "exec"), namespace)
    assert registry.find("again.edited") is namespace["cell"]._definition


def test_what_a_test_has_defined_may_be_other_in_the_next() -> None:
    registry._definitions.pop("again.scale", None)
    before = registry.all_definitions()
    make_scale(2)
    registry.end_those_since(before)
    assert make_scale(3)._definition is registry.find("again.scale")


def test_two_different_functions_of_one_kind_in_one_function_are_refused() -> None:
    @job(kind="again.different")
    async def first() -> None: ...

    with pytest.raises(InvalidDefinition, match="defined twice"):

        @job(kind="again.different")
        async def second() -> None: ...
