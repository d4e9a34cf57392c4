"""What a kind is called when nobody says, and under which other names its stored jobs are found."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from pathlib import Path

import pytest

from asyncjobs import InvalidDefinition, Job, job
from asyncjobs.definitions import registry
from tests.support import warm
from tests.support.processes import PATIENCE
from tests.support.sweeps import slowly

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """\
from asyncjobs import Job, job

@job
async def send(n: int) -> int:
    return n

class Outer:
    class Inner(Job):
        async def perform(self) -> None: ...

def told():
    print(send(1).kind, flush=True)

if __name__ == "__main__":
    print(send(1).kind, Outer.Inner().kind)
"""

CHILD = """\
    import multiprocessing
    child = multiprocessing.get_context("{method}").Process(target=told)
    child.start()
    child.join()
"""

PROCESS = """\
from asyncjobs import InvalidDefinition, job

def square(n: int) -> int:
    return n * n

try:
    print(job(executor="process")(square).kind)
except InvalidDefinition as error:
    print(error)
"""

WITHOUT_FILE = "this program has no file that another process could import"


@job
async def at_module_level() -> None: ...


class AtModuleLevel(Job):
    async def perform(self) -> None: ...


class Outer:
    class Nested(Job):
        async def perform(self) -> None: ...


def python(*words: str, directory: Path, given: str | None = None) -> str:
    """What a program prints, run in `directory` with this project importable."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = warm.run([sys.executable, *words], input=given, cwd=directory, env=environment, timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_a_kind_is_module_and_qualified_name_unless_it_is_given() -> None:
    assert at_module_level.kind == f"{__name__}.at_module_level"
    assert at_module_level().kind == f"{__name__}.at_module_level"
    assert AtModuleLevel().kind == f"{__name__}.AtModuleLevel"
    assert Outer.Nested().kind == f"{__name__}.Outer.Nested"


def test_a_kind_that_is_given_is_taken_as_it_is() -> None:
    @job(kind="mails/welcome v2 ✓")
    async def named() -> None: ...

    assert named.kind == "mails/welcome v2 ✓"


@pytest.mark.processes
class TestTheProgramThatWasStarted:
    """Its module is `__main__` here, and something else in the worker that imports it."""

    def test_python_file_names_kinds_as_an_import_of_the_file_would(self, tmp_path: Path) -> None:
        (tmp_path / "shop.py").write_text(PROGRAM)
        assert python("shop.py", directory=tmp_path) == "shop.send shop.Outer.Inner"
        (tmp_path / "other.py").write_text("import shop; print(shop.send.kind)")
        assert python("other.py", directory=tmp_path) == "shop.send"

    def test_a_path_to_the_file_makes_no_difference(self, tmp_path: Path) -> None:
        (tmp_path / "shop.py").write_text(PROGRAM)
        assert python(str(tmp_path / "shop.py"), directory=Path("/")) == "shop.send shop.Outer.Inner"

    def test_python_m_module_names_kinds_by_that_module(self, tmp_path: Path) -> None:
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "shop.py").write_text(PROGRAM)
        assert python("-m", "app.shop", directory=tmp_path) == "app.shop.send app.shop.Outer.Inner"

    def test_python_m_package_names_kinds_by_the_module_that_a_worker_can_import(self, tmp_path: Path) -> None:
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "__main__.py").write_text(PROGRAM)
        assert python("-m", "app", directory=tmp_path) == "app.__main__.send app.__main__.Outer.Inner"
        (tmp_path / "other.py").write_text("from app.__main__ import send; print(send.kind)")
        assert python("other.py", directory=tmp_path) == "app.__main__.send"

    @pytest.mark.parametrize("method", ["spawn", *slowly("forkserver")])
    @pytest.mark.parametrize("module", ["shop", *slowly("app.shop")])
    def test_a_child_of_multiprocessing_names_kinds_as_the_program_does(
        self, tmp_path: Path, method: str, module: str
    ) -> None:
        (tmp_path / "shop.py").write_text(PROGRAM + CHILD.format(method=method))
        (tmp_path / "app").mkdir()
        (tmp_path / "app" / "shop.py").write_text((tmp_path / "shop.py").read_text())
        words = ["shop.py"] if module == "shop" else ["-m", module]
        told = python(*words, directory=tmp_path).splitlines()
        assert told == [f"{module}.send {module}.Outer.Inner", f"{module}.send"]

    @pytest.mark.parametrize(
        "profiler",
        [
            ("cProfile", "-o", os.devnull),
            # In Python each, so that importing us takes them ten seconds.
            pytest.param(("profile", "-o", os.devnull), marks=pytest.mark.slow),
            pytest.param(("trace", "--count", "-C", "counts"), marks=pytest.mark.slow),
        ],
        ids=lambda words: words[0],
    )
    def test_a_program_under_a_profiler_has_its_own_name(self, tmp_path: Path, profiler: tuple[str, ...]) -> None:
        (tmp_path / "shop.py").write_text(PROGRAM)
        assert python("-m", *profiler, "shop.py", directory=tmp_path).splitlines()[0] == "shop.send shop.Outer.Inner"
        assert (
            python("-m", *profiler, str(tmp_path / "shop.py"), directory=tmp_path).splitlines()[0].startswith("shop.")
        )

    @pytest.mark.slow
    def test_a_directory_names_kinds_as_an_import_from_beside_it_would(self, tmp_path: Path) -> None:
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop" / "__main__.py").write_text(PROGRAM)
        named = "shop.__main__.send shop.__main__.Outer.Inner"
        assert python("shop", directory=tmp_path) == named
        assert python(".", directory=tmp_path / "shop") == named
        assert python("__main__.py", directory=tmp_path / "shop") == named
        (tmp_path / "other.py").write_text("import shop.__main__; print(shop.__main__.send.kind)")
        assert python("other.py", directory=tmp_path) == "shop.__main__.send"

    def test_an_archive_names_its_kinds_by_its_file_and_its_modules_as_usual(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "shop.pyz", "w") as archive:
            archive.writestr("__main__.py", PROGRAM + "    import parts\n    print(parts.send.kind)\n")
            archive.writestr("parts.py", PROGRAM)
        assert python("shop.pyz", directory=tmp_path).splitlines() == [
            "shop.__main__.send shop.__main__.Outer.Inner",
            "parts.send",
        ]

    @pytest.mark.slow
    def test_programs_without_a_file_do_not_share_their_kinds(self, tmp_path: Path) -> None:
        (tmp_path / "shop.py").write_text(PROGRAM)
        ways = [{"words": ["-c", PROGRAM]}, {"words": ["-c", PROGRAM]}, {"words": ["-"], "given": PROGRAM}]
        kinds = [python(*way.pop("words"), directory=tmp_path, **way).split()[0] for way in ways]
        assert all(re.fullmatch(r"__main__\.[0-9a-f]{8}\.send", kind) for kind in kinds), kinds
        assert len(set(kinds)) == 3

    def test_a_program_whose_file_is_not_there_keeps_its_name(self, tmp_path: Path) -> None:
        frozen = f"exec({PROGRAM!r}, {{'__name__': '__main__', '__file__': 'shop.py'}})"  # as a packed program has it
        assert python("-c", frozen, directory=tmp_path) == "shop.send shop.Outer.Inner"

    def test_a_file_that_is_no_module_keeps_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "run-shop.py").write_text(PROGRAM)
        assert python("run-shop.py", directory=tmp_path) == "run-shop.send run-shop.Outer.Inner"

    @pytest.mark.parametrize(
        ("words", "given", "why"),
        [
            pytest.param(["-c", PROCESS], None, WITHOUT_FILE, id="-c"),
            pytest.param(["-"], PROCESS, WITHOUT_FILE, id="stdin", marks=pytest.mark.slow),
            pytest.param(["run-shop.py"], None, "no other process can import 'run-shop'", id="no module"),
            pytest.param(
                ["shop.pyz"],
                None,
                "no other process can import 'shop.__main__'",
                id="archive",
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_a_process_job_of_a_program_that_cannot_be_imported_is_refused(
        self, tmp_path: Path, words: list[str], given: str | None, why: str
    ) -> None:
        (tmp_path / "run-shop.py").write_text(PROCESS)
        with zipfile.ZipFile(tmp_path / "shop.pyz", "w") as archive:
            archive.writestr("__main__.py", PROCESS)
        refused = python(*words, directory=tmp_path, given=given)
        assert refused.startswith("__main__.square cannot run in a process of its own: ") and why in refused
        assert "define it in a module" in refused

    def test_the_file_may_import_itself_under_its_own_name(self, tmp_path: Path) -> None:
        (tmp_path / "shop.py").write_text(PROGRAM + "    import shop\n    print(shop.send(1).kind)\n")
        assert python("shop.py", directory=tmp_path).splitlines()[1] == "shop.send"


class TestAliases:
    def test_an_alias_finds_the_definition_and_a_job_keeps_its_new_kind(self) -> None:
        @job(kind="naming.renamed", aliases=("naming.old", "naming.older"))
        async def renamed() -> None: ...

        assert registry.find("naming.old") is registry.find("naming.older") is registry.find("naming.renamed")
        assert renamed().kind == "naming.renamed"

    def test_a_worker_claims_the_aliases_too(self) -> None:
        @job(kind="naming.claimed", aliases=("naming.claimed.before",))
        async def claimed() -> None: ...

        assert {"naming.claimed", "naming.claimed.before"} <= set(registry.all_names())

    def test_an_alias_that_another_kind_has_is_refused(self) -> None:
        @job(kind="naming.taken")
        async def taken() -> None: ...

        with pytest.raises(InvalidDefinition, match="'naming.taken' is defined twice"):

            @job(kind="naming.taker", aliases=("naming.taken",))
            async def taker() -> None: ...

        assert registry.find("naming.taker") is None

    def test_a_string_is_no_tuple_of_aliases(self) -> None:
        with pytest.raises(InvalidDefinition, match=r"give a tuple, such as \('naming.old',\)"):

            @job(kind="naming.string", aliases="naming.old")
            async def string() -> None: ...

    def test_kind_and_aliases_are_not_inherited(self) -> None:
        class Parent(Job, kind="naming.Parent", aliases=("naming.Former",)):
            async def perform(self) -> None: ...

        class Child(Parent, kind="naming.Child"): ...

        assert Child().kind == "naming.Child"
        assert Parent().kind == "naming.Parent"
        assert registry.find("naming.Former") is registry.find("naming.Parent")
        with pytest.raises(InvalidDefinition, match="stands inside a function"):

            class Nameless(Parent): ...


@pytest.mark.parametrize("kind", ["", " ", " a", "a ", "a\nb", "a\x00", "a\ud800", "x" * 201, 7, b"a"])
def test_what_cannot_be_a_kind_is_refused(kind: object) -> None:
    with pytest.raises(InvalidDefinition, match="is no kind"):

        @job(kind=kind)
        async def named() -> None: ...


def test_a_default_kind_that_is_too_long_is_refused_where_it_is_made_and_not_by_the_database() -> None:
    namespace = {"__name__": "naming_long", "Job": Job, "perform": lambda self: None}
    with pytest.raises(InvalidDefinition, match="1 to 200"):
        exec("class C%s(Job):\n    def perform(self): ..." % ("x" * 200), namespace)  # noqa: UP031
