"""The reference pages say what the code says."""

import importlib.util
import inspect
import re
import types

import asyncpg
import pytest

import asyncjobs
from asyncjobs import testing
from tests.support.workers import ROOT

REFERENCE = ROOT / "docs" / "reference"
SQL = (REFERENCE / "sql.md").read_text()


def _generate() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generate()
API = "\n".join(path.read_text() for path in sorted((REFERENCE / "api").glob("*.md")))
DOCUMENTED = set(re.findall(r"^\.\. auto\w+:: asyncjobs\.(\w+)\b(?!\.\w)", API, re.MULTILINE))


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_generated_page_is_what_it_is_made_from_says_now(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == generate.PAGES[name](), "run `python docs/generate.py`"


def test_every_public_name_is_in_the_reference_and_nothing_else() -> None:
    errors = {error.__name__ for error in generate.public_errors()}
    assert set(asyncjobs.__all__) == DOCUMENTED | errors
    for name in testing.__all__:
        assert f"autoclass:: asyncjobs.testing.{name}\n" in API
    integrations = {path.stem for path in (ROOT / "asyncjobs" / "integrations").glob("[a-z]*")}
    assert set(re.findall(r"automodule:: asyncjobs\.integrations\.(\w+)", API)) == integrations


def test_every_public_name_and_its_methods_have_docstrings() -> None:
    found = [
        *(getattr(asyncjobs, name) for name in asyncjobs.__all__),
        *(getattr(testing, name) for name in testing.__all__),
    ]
    bare = [each for each in found if not inspect.getdoc(each)]
    for each in filter(inspect.isclass, found):
        members = {key: value for key, value in vars(each).items() if key[0] != "_" and inspect.isroutine(value)}
        bare += [value for value in members.values() if not inspect.getdoc(value)]
    assert bare == []


def _sections() -> list[tuple[str, str]]:
    parts = re.split(r"^## `(\w+)`\n", SQL.partition("\n## Which kinds")[0], flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(("name", "section"), _sections(), ids=[name for name, _ in _sections()])
async def test_the_statements_of_a_sql_function_run_and_its_parameters_are_these(
    name: str, section: str, connection: asyncpg.Connection
) -> None:
    for statement in re.findall(r"^```(?:postgre)?sql\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(statement)
        await transaction.rollback()
    stored = await connection.fetch(
        "select proargnames, proargmodes::text[] as modes, proallargtypes is null as is_all from pg_proc "
        "where pronamespace = 'asyncjobs'::regnamespace and proname = $1",
        name,
    )
    inputs = {
        tuple(arg for arg, mode in zip(row["proargnames"], row["modes"] or "i" * 99, strict=False) if mode == "i")
        for row in stored
    }
    tabled = tuple(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    called = re.findall(rf"asyncjobs\.{name}\(([^;]*)\)", section)
    given = tuple(re.findall(r"(\w+)\s+=>", called[0]))
    assert inputs == ({tabled} if tabled else {given})


def test_the_page_of_states_has_them_all_with_their_numbers() -> None:
    from asyncjobs.db.rows import State
    from asyncjobs.records import step_records

    page = (REFERENCE / "states.md").read_text()
    jobs, steps = page.split("\n## States of a step\n")
    assert re.findall(r"^\| `(\w+)` \| (\d) \|", jobs, re.MULTILINE) == [(s.name, str(s.value)) for s in State]
    assert re.findall(r"^\| `(\w+)` \|", steps, re.MULTILINE) == list(step_records.StepState.__args__)


def test_the_modules_that_the_background_names_exist() -> None:
    pages = [path.read_text() for path in (ROOT / "docs" / "background").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"`(asyncjobs/[^`]*)`", page)}
    assert len(named) > 15
    assert {name for name in named if not (ROOT / name).is_file()} == set()
