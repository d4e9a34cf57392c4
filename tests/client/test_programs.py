"""Programs that hold their jobs themselves: what runs of them in a process of its own, and what cannot."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support import warm
from tests.support.processes import PATIENCE
from tests.support.workers import ROOT

PROGRAM = """\
import asyncio, os, sys
from asyncjobs import AsyncJobs, JobFailed, job

print("begun", flush=True)

@job(executor="process")
def square(n: int) -> int:
    return n * n

async def main() -> None:
    print("main() runs", flush=True)
    async with AsyncJobs().running():
        try:
            print(await (await square(7).enqueue()).result(timeout=60), flush=True)
        except JobFailed as error:
            print(error.error_type, error.error_message, flush=True)

{start}
"""

GUARDED = """\
try:
    if __name__ == "__main__":
        asyncio.run(main())
except KeyboardInterrupt:
    pass
"""

IN_A_THREAD = """\
import runpy, threading
thread = threading.Thread(target=runpy.run_path, args=["shop.py"], kwargs={"run_name": "__main__"})
thread.start()
thread.join()
"""
"""What the program is doing is not looked up there: it is found out where it is imported."""

SWALLOWING = """\
try:
    asyncio.run(main())
except Exception:
    pass
"""

SUSPECT = """\
import asyncio, importlib.util, os
import asyncpg
from asyncjobs import AsyncJobs, current_job, job

going = most = 0
marked = []  # as what dies with its worker and is not charged with that

@job(kind="programs.suspect")
async def suspect() -> int:
    global going, most
    going += 1
    most = max(most, going)
    await asyncio.sleep(0.05)
    connection = await asyncpg.connect(client.database_url)
    marked.append(await connection.fetchval("select apart from asyncjobs.job where id = $1", current_job().id))
    await connection.close()
    going -= 1
    return os.getpid()

async def main() -> None:
    global client
    async with AsyncJobs().running() as jobs:
        client = jobs
        if importlib.util.find_spec("work"):  # there is a process for others meanwhile
            await (await importlib.import_module("work").process_job().enqueue()).result(timeout=60)
        made = [await suspect().set(wait=3600).enqueue() for _ in range(3)]
        connection = await asyncpg.connect(jobs.database_url)
        await connection.execute("update asyncjobs.job set state = 1, crashes = 2, attempt = 2")
        await connection.close()
        print({await each.result(timeout=60) for each in made} == {os.getpid()}, most, *set(marked), flush=True)

asyncio.run(main())
"""

LATER = """\
import asyncio, os
import asyncpg
from asyncjobs import AsyncJobs, JobFailed, job

def define():
    @job(kind="programs.later")
    async def later() -> int:
        return os.getpid()
    return later

async def main() -> None:
    async with AsyncJobs() as jobs:
        made = await define()().enqueue()
        connection = await asyncpg.connect(jobs.database_url)
        await connection.execute("update asyncjobs.job set crashes = 2, attempt = 2")
        await connection.close()
        async with AsyncJobs().running():
            print(await made.result(timeout=60) == os.getpid(), flush=True)
            try:
                await (await square(7).enqueue()).result(timeout=60)
            except JobFailed as error:
                print(error.error_type, error.error_message, flush=True)

if __name__ == "__main__":
    @job(executor="process")
    def square(n: int) -> int:
        return n * n

    asyncio.run(main())
"""


@pytest.fixture
def program(tmp_path: Path, database_url: str) -> Any:
    """Run a program on the test's database; return what it prints."""

    async def run(*words: str, text: str = "") -> str:
        done = await asyncio.to_thread(
            warm.run,
            [sys.executable, *words],
            input=text,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "ASYNCJOBS_DATABASE_URL": database_url},
            stderr=None,
            timeout=3 * PATIENCE,
        )
        return done.stdout

    return run


@pytest.mark.slow
async def test_a_guarded_program_has_its_process_jobs_run(program: Any, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM.format(start=GUARDED))
    assert await program("shop.py") == "begun\nmain() runs\nbegun\n49\n"


async def test_a_directory_has_its_process_jobs_run(program: Any, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__main__.py").write_text(PROGRAM.format(start=GUARDED))
    assert (await program("shop")).endswith("\n49\n")


async def test_a_program_without_a_guard_is_refused_by_name_and_not_begun_again(program: Any, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM.format(start="asyncio.run(main())"))
    begun, runs, refused = (await program("shop.py")).splitlines()
    assert (begun, runs) == ("begun", "main() runs")
    assert refused.startswith("asyncjobs.worker.job_processes.forking_process.CannotFork")
    assert (
        "shop cannot be imported" in refused and "by line 18" in refused and '`if __name__ == "__main__":`' in refused
    )


@pytest.mark.parametrize(
    "start",
    [
        pytest.param("asyncio.run(main())", id="plainly", marks=pytest.mark.slow),
        pytest.param(SWALLOWING, id="swallowing errors", marks=pytest.mark.slow),
    ],
)
async def test_a_program_that_is_not_seen_to_have_none_is_refused_where_it_opens_a_client(
    program: Any, tmp_path: Path, start: str
) -> None:
    (tmp_path / "shop.py").write_text(PROGRAM.format(start=start))
    refused = [line for line in (await program("-c", IN_A_THREAD)).splitlines() if "CannotFork" in line]
    assert len(refused) == 1
    assert "shop cannot be imported" in refused[0] and '`if __name__ == "__main__":`' in refused[0]


@pytest.mark.parametrize(
    ("words", "given"),
    [
        pytest.param(["-c", SUSPECT], "", id="-c", marks=pytest.mark.slow),
        pytest.param(["-"], SUSPECT, id="stdin", marks=pytest.mark.slow),
    ],
)
async def test_suspects_of_a_program_that_cannot_be_imported_stay_in_it_one_at_a_time(
    program: Any, tmp_path: Path, words: list[str], given: str, connection: asyncpg.Connection
) -> None:
    (tmp_path / "work.py").write_text(
        "from asyncjobs import job\n@job(executor='process')\ndef process_job() -> None: ...\n"
    )
    assert await program(*words, text=given) == "True 1 False\n"


async def test_suspects_of_a_program_without_a_guard_stay_in_it_one_at_a_time(
    program: Any, tmp_path: Path, connection: asyncpg.Connection
) -> None:
    (tmp_path / "shop.py").write_text(SUSPECT)
    assert await program("shop.py") == "True 1 False\n"


@pytest.mark.slow
async def test_what_an_import_of_the_program_does_not_define_runs_in_it_or_is_refused(
    program: Any, tmp_path: Path, connection: asyncpg.Connection
) -> None:
    (tmp_path / "shop.py").write_text(LATER)
    suspect, refused = (await program("shop.py")).splitlines()
    assert suspect == "True"
    assert refused.startswith("asyncjobs.exceptions.InvalidDefinition __main__.square (")
    assert "is not defined where its module is imported" in refused


ENQUEUEING = """\
import asyncio, logging
from asyncjobs import AsyncJobs, job
logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)

@job
async def send(n: int) -> int:
    return n

async def main() -> None:
    jobs = AsyncJobs()
    async with {opened}:
        await send(1).enqueue()
        made = await send(2).enqueue()
        if "running" in "{opened}":
            print(await made.result(timeout=60))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "in_file", [pytest.param(False, id="-c"), pytest.param(True, id="file", marks=pytest.mark.slow)]
)
async def test_a_program_that_enqueues_what_no_worker_can_know_is_warned_once_unless_it_works_itself(
    program: Any, tmp_path: Path, in_file: bool
) -> None:
    async def run(text: str) -> list[str]:
        (tmp_path / "shop.py").write_text(text)
        return (await program(*(["shop.py"] if in_file else ["-c", text]))).splitlines()

    warned = await run(ENQUEUEING.format(opened="jobs"))
    assert len(warned) == (0 if in_file else 1)
    assert all(
        "only a worker of this program can run __main__." in line and "define it in a module" in line for line in warned
    )
    assert await run(ENQUEUEING.format(opened="jobs.running()")) == ["2"]
