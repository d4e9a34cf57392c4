"""What a killed test run leaves is removed by the next one, and what a living one uses is left alone."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import running_server
from tests.support.directories import held_directory
from tests.support.processes import group_lives
from tests.support.workers import ROOT

HOLDER = """
import subprocess
from tests.support.directories import held_directory
with held_directory("asyncjobs-held-") as directory:
    child = subprocess.Popen(["sleep", "60"])
    print(directory, child.pid, flush=True)
    input()
"""
SERVER = """
from tests.conftest import running_server
with running_server() as server:
    print(server.url("postgres"), flush=True)
    input()
"""


def start(program: str) -> tuple[subprocess.Popen[bytes], list[str]]:
    """A test run, as far as it matters here, once it has printed its first line; the words of that."""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return process, process.stdout.readline().decode().split()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def test_the_directory_of_a_killed_run_is_removed_though_a_child_lives_and_that_of_a_living_run_is_not():
    process, [path, child] = start(HOLDER)
    held = Path(path, "data")
    held.mkdir()
    with held_directory("asyncjobs-held-") as own:
        assert held.exists()
        process.kill()
        process.wait()
        with held_directory("asyncjobs-held-") as other:
            assert not Path(path).exists()
            assert own.exists() and other.exists()
    assert not own.exists() and not other.exists()
    os.kill(int(child), signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_the_server_of_a_killed_run_is_ended_and_removed_by_the_next_and_that_of_a_living_one_is_not(server):
    async def ask(url: str, setting: str) -> str:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval("select current_setting($1)", setting)
        finally:
            await connection.close()

    process, [url] = start(SERVER)
    kill(process)
    data, sockets = (Path(asyncio.run(ask(url, what))) for what in ("data_directory", "unix_socket_directories"))
    postmaster = int((data / "postmaster.pid").read_text().split()[0])
    with running_server() as following:
        assert asyncio.run(ask(following.url("postgres"), "data_directory")) != str(data)
        assert not group_lives(postmaster)
        assert not data.exists() and not sockets.exists()
        assert asyncio.run(ask(server.url("postgres"), "data_directory"))
