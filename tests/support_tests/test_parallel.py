"""Tests in several processes: what is told of them, and what of a process that ends in the middle."""

import os
import re
import signal
import sys

import pytest

from tests.support import warm
from tests.support.workers import ROOT

HOOKS = "from tests.support.parallel import pytest_cmdline_main, pytest_runtestloop\n"
TESTS = """\
import os, signal, warnings
import pytest

ended = []

@pytest.fixture(scope="module", autouse=True)
def whose(tmp_path_factory):
    yield
    with open("ended", "a") as file:
        print(os.getpid(), *ended, file=file)

@pytest.mark.parametrize("n", range(12))
def test_passes(n, tmp_path):
    print("said")
    ended.append(n)

"""


@pytest.fixture
def run(tmp_path):
    """Run tests in three processes: how they end, and what is said, which has such a last line."""

    def run(tests, *words, last):
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        (tmp_path / "conftest.py").write_text(HOOKS)
        (tmp_path / "test_it.py").write_text(TESTS + tests)
        # The other plugins take half of the time to import.
        left_out = [f"-pno:{name}" for name in ("cacheprovider", "hypothesispytest", "anyio", "asyncio")]
        words = ["-q", *left_out, "-n", "3", "--dist", "worksteal", *words]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = warm.run(
            [sys.executable, "-m", "pytest", *words], cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)}
        )
        assert re.search(rf"^{last} in [\d.]+s$", done.stdout, re.MULTILINE), done.stdout + done.stderr
        return done

    return run


def test_each_test_is_run_once_and_each_process_ends_what_its_tests_share(run, tmp_path):
    assert run("", last="12 passed").returncode == 0
    pids, *_ = zip(*(lines := [line.split() for line in (tmp_path / "ended").read_text().splitlines()]), strict=False)
    assert len(set(pids)) == len(pids) == 3
    assert sorted(int(n) for _, *numbers in lines for n in numbers) == list(range(12))


def test_what_fails_is_skipped_or_warns_is_told_with_the_place_and_what_was_printed(run):
    tests = (
        "def test_fails():\n    print('in it')\n    assert 1 == 2\n"
        "def test_is_skipped():\n    pytest.skip('no need')\n"
        "def test_warns():\n    warnings.warn('odd')\n"
    )
    done = run(tests, "-rs", last="1 failed, 13 passed, 1 skipped, 1 warning")
    assert done.returncode == 1
    assert "assert 1 == 2" in done.stdout and "in it" in done.stdout
    assert "no need" in done.stdout and "UserWarning: odd" in done.stdout


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os._exit(7)", 7),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_test_that_ends_its_process_fails_and_those_behind_it_are_run(run, tmp_path, end, said):
    first = f"import os, signal\ndef test_ends_it():\n    {end}\ndef test_behind_it():\n    pass\n"
    (tmp_path / "test_first.py").write_text(first)  # whose second test the process has been given when it dies
    done = run("", last="1 failed, 13 passed")
    assert re.search(rf"^its process ended with {said} in it", done.stdout, re.MULTILINE)


def test_at_the_first_failure_all_of_them_stop_if_so_asked_and_end_what_their_tests_share(run, tmp_path):
    done = run("def test_fails():\n    assert not 'so'\n", "-x", last=r"1 failed, \d+ passed")
    assert "stopping after 1 failures" in done.stdout
    assert len((tmp_path / "ended").read_text().splitlines()) == 3
