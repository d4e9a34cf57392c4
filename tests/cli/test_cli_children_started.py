"""What the processes that a worker consists of have from their parent, and what a job's programs have of them."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from asyncjobs.db.connecting import connect

JOBS = """
import json, os, subprocess, sys
from asyncjobs import job

def looked():
    program = "import json, os; print(json.dumps([dict(os.environ), sorted(f + ' ' + os.readlink('/proc/self/fd/' + f) for f in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + f))]))"
    environment, descriptors = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, close_fds=False).stdout)
    import secrets
    return {"environment": environment, "descriptors": descriptors, "options": sys._xoptions,
            "streams": [os.readlink(f"/proc/self/fd/{n}") for n in range(3)], "ours": hasattr(secrets, "token_hex"), "path": sys.path[0]}

@job(kind="looks.here")
def here() -> dict:
    return looked()

@job(kind="looks.apart", executor="process")
def apart() -> dict:
    return looked()
"""


@pytest.fixture
def directory(tmp_path):
    made = tmp_path / "shop"
    made.mkdir()
    (made / "look_jobs.py").write_text(JOBS)
    (made / "secrets.py").write_text('raise RuntimeError("a module of the project was taken for Python\'s")\n')
    return made


def work(directory, url, *words, flags=()):
    """Have a worker whose configuration names the database run a job of each kind; return what they saw."""
    (directory / "config.toml").write_text(
        f'[default]\ndatabase_url = {json.dumps(url)}\nimports = ["look_jobs"]\nlog_format = "text"\n'
    )

    async def ask(statement):
        connection = await connect(url)
        try:
            return await connection.fetch(statement)
        finally:
            connection.terminate()

    asyncio.run(ask("select asyncjobs.enqueue(kind => kind) from unnest(array['looks.here', 'looks.apart']) as kind"))
    # The console script: unlike `python -m`, it imports nothing from the working directory before asyncjobs.
    start = "import sys; sys.argv[0] = 'asyncjobs'; sys.path.pop(0); from asyncjobs.cli import main; main()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYNCJOBS_")}
    done = subprocess.run(
        [sys.executable, *flags, "-c", start, "run", "--burst", *words],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    rows = asyncio.run(ask("select kind, state, result, errors from asyncjobs.finished"))
    assert {row["kind"]: row["state"] for row in rows} == {"looks.here": 4, "looks.apart": 4}, (rows, done.stderr)
    return {row["kind"]: json.loads(row["result"]) for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("words", [[], ["--processes", "2"]])
def test_children_take_no_module_of_the_project_for_pythons_and_their_programs_see_no_url(
    directory, database_url, words
):
    for seen in work(directory, database_url, *words, flags=["-X", "utf8=0"]).values():
        assert seen["ours"]
        assert not [name for name in seen["environment"] if name.startswith("ASYNCJOBS_")]
        assert seen["options"]["utf8"] == "0"
        assert os.path.realpath(seen["path"]) == os.path.realpath(directory)
        # uvloop leaves duplicates of the standard streams in what it starts.
        known = {"/dev/null", *seen["streams"]}
        others = [name for name in seen["descriptors"] if name.split()[0] not in "012" and name.split()[1] not in known]
        assert others == []
