"""Programs that are forked from a warm interpreter: nobody in them can tell, but by the time that it takes."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.namespaces import inside, two_hosts, why_not
from tests.support.processes import PATIENCE, alive, children, until_so
from tests.support.warm import ROOT

ABOUT = """\
import gc, json, logging, os, random, signal, sys, threading, warnings
import asyncjobs

def stream(one):
    return [one.name, one.mode, one.encoding, one.errors, one.line_buffering, one.write_through, one.isatty(), one.fileno()]

print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "flags": repr(sys.flags), "warnings": repr(warnings.filters),
    "main": sorted(globals()), "name": __name__, "file": __file__, "spec": __spec__ and __spec__.name,
    "loader": getattr(__loader__, "path", None), "is main": sys.modules["__main__"].__dict__ is globals(),
    "cwd": os.getcwd(), "environment": dict(os.environ), "parent": os.getppid(), "group": os.getpgid(0) == os.getpid(),
    "session": os.getsid(0) == os.getpid(), "umask": os.umask(0), "gc": [gc.isenabled(), gc.get_threshold()],
    "streams": [stream(one) for one in (sys.stdin, sys.stdout, sys.stderr)],
    "originals": [sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
    "signals": {n: repr(signal.getsignal(n)) for n in sorted(signal.valid_signals() - {9, 19})},
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "wakeup": signal.set_wakeup_fd(-1),
    "threads": [thread.name for thread in threading.enumerate()], "handlers": logging.getLogger().handlers,
    "descriptors": sorted(os.listdir("/proc/self/fd")), "asyncjobs": asyncjobs.__file__, "worker": "asyncjobs.worker.worker" in sys.modules,
    "multiprocessing": "multiprocessing" in sys.modules,
}, default=str))
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every program is started as usual")


def started(*words: object, **options: object) -> subprocess.Popen:
    process = warm.start([sys.executable, *words], **{"stdout": subprocess.PIPE, "text": True, **options})
    assert isinstance(process, warm.Forked)
    return process


@pytest.fixture
def program(tmp_path):
    def write(text: str) -> Path:
        (tmp_path / "program.py").write_text(text)
        return tmp_path / "program.py"

    return write


WAYS = [["program.py", "a", "-b"], ["-m", "program", "c"], ["-X", "dev", "-W", "error", "program.py"]]
OPTIONS: dict[str, str] = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": f"{ROOT}{os.pathsep}relative",
    "PYTHONIOENCODING": "ascii:replace",
}


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (WAYS[0], OPTIONS),
        *(pytest.param(words, {}, marks=pytest.mark.slow) for words in WAYS),
        pytest.param(WAYS[0], {"PYTHONIOENCODING": "latin-1"}, marks=pytest.mark.slow),
        pytest.param(WAYS[0], {"PYTHONIOENCODING": ":ignore"}, marks=pytest.mark.slow),
        *(pytest.param(words, OPTIONS, marks=pytest.mark.slow) for words in WAYS[1:]),
    ],
)
def test_a_program_finds_what_it_finds_in_a_new_interpreter(program, tmp_path, words, options):
    program(ABOUT)
    given = {
        "args": [sys.executable, *words],
        "cwd": tmp_path,
        "env": {**{n: v for n, v in os.environ.items() if n != "PYTHONPATH"}, "MINE": "é", **options},
        "start_new_session": True,
        **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE),
        "text": True,
    }
    found = []
    for start in (subprocess.Popen, warm.start):
        with start(**given) as process:
            out, err = process.communicate(timeout=PATIENCE)
        assert err == ""
        found.append(json.loads(out))
    assert isinstance(process, warm.Forked)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("raise ValueError('mine')", 1),
        ("import os; os._exit(4)", 4),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT),
        ("import os; os.abort()", -signal.SIGABRT),
    ],
)
def test_it_ends_as_it_would(program, text, code):
    done = warm.run([sys.executable, program(text)])
    assert done.returncode == code
    assert ("ValueError: mine" in done.stderr) == ("mine" in text)


LOOKING = """\
import json, os, signal, sys
from asyncjobs import job

@job(kind="warm.look")
def look() -> dict:
    return looked(os.getppid())

@job(kind="warm.look_apart", executor="process")
def look_apart() -> dict:
    with open(f"/proc/{os.getppid()}/stat") as forking:
        return looked(int(forking.read().rpartition(")")[2].split()[1]))

def looked(parent: int) -> dict:
    return {
        "argv": sys.argv, "orig_argv": sys.orig_argv, "path": sys.path, "main": sys.modules["__main__"].__file__,
        "cwd": os.getcwd(), "environment": dict(os.environ), "umask": os.umask(0),
        "group": os.getpgid(0) == parent, "session": os.getsid(0) == parent, "parent": parent,
        "streams": [os.readlink(f"/proc/self/fd/{n}") for n in range(3)],
        "signals": {str(n): str(signal.getsignal(n)).partition(" at ")[0] for n in sorted(signal.valid_signals() - {9, 19})},
        "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        "command": open("/proc/self/cmdline").read().split("\\0"), "score": open("/proc/self/oom_score_adj").read(),
    }
"""


@pytest.mark.parametrize(("kind", "words"), [("warm.look", ["--processes", "2"]), ("warm.look_apart", [])])
@pytest.mark.slow
async def test_what_a_program_starts_again_of_itself_is_forked_and_finds_what_a_new_one_finds(
    tmp_path, database_url, connection, kind, words
):
    (tmp_path / "looking.py").write_text(LOOKING)
    found = []
    for anew in (True, False):
        await connection.execute("select asyncjobs.enqueue(kind => $1)", kind)
        command = [sys.executable, "-m", "asyncjobs", "run", "looking", *words, "--burst"]
        environment = {**os.environ, "ASYNCJOBS_DATABASE_URL": database_url}
        with warm.start(
            command, anew=anew, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        ) as process:  # fmt: skip
            assert await asyncio.to_thread(process.wait, PATIENCE) == 0
        assert isinstance(process, warm.Forked) != anew
        row = await connection.fetchrow("delete from asyncjobs.finished returning result, errors")
        assert row["result"], row["errors"]
        looked = json.loads(row["result"])
        assert looked.pop("parent") == process.pid
        assert (str(warm.SERVER) in looked.pop("command")) != anew
        found.append(looked)
    assert found[0]["group"] == found[0]["session"] == (kind == "warm.look")
    for looked in found if kind == "warm.look_apart" else ():
        del looked["argv"][1:], looked["orig_argv"][-2:]  # numbers of descriptors
    assert found[0] == found[1]


def test_what_is_left_to_do_at_the_end_of_an_interpreter_is_done(program):
    text = """
import atexit, asyncjobs, threading
atexit.register(print, "at exit")
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
print("main")

class Ends:
    def __del__(self, print=print):
        print("deleted")

kept = Ends()
kept.circle = kept
"""
    assert warm.run([sys.executable, program(text)]).stdout == "main\nthread\nat exit\ndeleted\n"


def test_it_is_a_child_of_this_process_and_of_nobody_else(program):
    with started(program("input()"), stdin=subprocess.PIPE) as process:
        assert process.pid in children(os.getpid())
        process.communicate("\n")
    assert process.returncode == 0
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, 0)


def test_whose_parent_dies_elsewhere_does_not_become_ours(program):
    text = "import subprocess as s; print(s.Popen(['sleep', '60'], stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
    left = int(warm.run([sys.executable, program(text)]).stdout)
    try:
        assert alive(left) and left not in children(os.getpid())
    finally:
        os.kill(left, signal.SIGKILL)


def test_of_two_each_draws_its_own_random_numbers(program):
    path = program("import random; print(random.random())")
    assert len({warm.run([sys.executable, path]).stdout for _ in range(3)}) == 3


async def test_it_ends_with_the_process_that_asked_for_it(program):
    path = program("import signal; print('up', flush=True); signal.pause()")
    asking = f"""
import subprocess, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.support import warm
process = warm.start([sys.executable, {str(path)!r}], stdout=subprocess.PIPE, text=True, ends_with_parent=True)
process.stdout.readline()
print(process.pid, isinstance(process, warm.Forked), flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", asking], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid, is_forked = parent.stdout.readline().split()
        assert is_forked == "True" and alive(int(pid))
        parent.kill()
    await until_so(lambda: not alive(int(pid)))


def test_a_terminal_controls_it(program):
    text = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("up" if os.tcgetpgrp(0) == os.getpid() else "not controlled", flush=True)
raise SystemExit(signal.sigwait([signal.SIGINT]))
"""
    ours, theirs = pty.openpty()
    options = {"stdin": theirs, "stderr": theirs, "start_new_session": True, "terminal": True}
    try:
        with started(program(text), **options) as process:
            try:
                assert process.stdout.readline() == "up\n"
                os.write(ours, b"\x03")  # Ctrl-C reaches whom the terminal controls
                assert process.wait(PATIENCE) == signal.SIGINT
            finally:
                process.kill()
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("words", "options", "file"),
    [
        (["-c", "pass"], {}, ""),
        (["-"], {}, ""),
        ([".", "x"], {}, "__main__.py"),
        (["-m", "program"], {"PYTHONHASHSEED": "1"}, ""),
        (["-m", "program"], {"LC_ALL": "C"}, ""),
        (["-m", "program"], {}, "sitecustomize.py"),
        (["-m", "program"], {}, "typing_extensions.py"),
        (["-m", "program"], {"PYTHONPATH": "there"}, "there/asyncpg/__init__.py"),
    ],
)
def test_where_a_new_interpreter_makes_a_difference_one_is_started(program, tmp_path, words, options, file):
    program("pass")
    if file:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    environment = {**os.environ, **options}
    with warm.start([sys.executable, *words], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL) as process:
        assert not isinstance(process, warm.Forked)
    assert process.returncode == 0


@pytest.mark.parametrize("file", ["asyncpg.ini", "uvloop.toml", "typer.md", "sitecustomize.txt"])
def test_a_file_that_no_import_takes_makes_no_difference(program, tmp_path, file):
    program("pass")
    (tmp_path / file).touch()
    with started("-m", "program", cwd=tmp_path, stdin=subprocess.DEVNULL) as process:
        assert process.communicate()[0] == ""
    assert process.returncode == 0


def test_a_command_of_another_program_is_started_as_it_is():
    with warm.start(["true"]) as process:
        assert not isinstance(process, warm.Forked)
    assert process.returncode == 0


@pytest.mark.skipif(bool(reason := why_not()), reason=f"no two hosts here: {reason}")
def test_on_another_host_one_is_started_there(program):
    words = [sys.executable, str(program("import os; print(os.readlink('/proc/self/ns/net'))"))]
    with two_hosts() as hosts:
        with inside(hosts.far):
            there = str(Path("/proc/thread-self/ns/net").readlink())
            process = warm.start(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert not isinstance(process, warm.Forked)
        assert process.communicate()[0].strip() == there
