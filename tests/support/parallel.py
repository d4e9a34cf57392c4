"""Tests in several processes that are forked once all of them are collected.

Stands in for pytest-xdist, with its option `-n`: there each process imports and collects six thousand tests for itself, and sends
five messages for each, a tenth of what the whole run costs. Elsewhere than on Linux, and with `--dist` or `--pdb`, it is pytest-xdist
that runs them.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import pytest

AHEAD = 3
"""Tests that a process has been given and not ended: it knows from the next which fixtures stay, and need not wait for one more."""
PROCESSES = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist's, which finds nothing left to do
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Take the number of processes, where they can be forked."""
    option = config.option
    if sys.platform != "linux" or option.dist != "worksteal" or option.usepdb or not option.numprocesses:
        return
    if option.numprocesses in ("auto", "logical"):
        option.numprocesses = config.hook.pytest_xdist_auto_num_workers(config=config)
    config.stash[PROCESSES] = min(option.numprocesses, option.maxprocesses or option.numprocesses)
    option.numprocesses = 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in processes, if there are to be any."""
    number = min(session.config.stash.get(PROCESSES, 0), len(session.items))
    if number < 2 or session.testsfailed or session.config.option.collectonly:
        return None
    _Processes(session).run(number)
    return True


class _Processes:
    """Forked from this one; each begins with a share of the tests, and takes half of the longest that is left when it has none.

    Args:
        session: What is collected.
    """

    def __init__(self, session: pytest.Session) -> None:
        self._session = session
        self._config = session.config
        self._left: dict[Connection, deque[int]] = {}
        """Numbers of tests that none has been given, by the process whose share they are."""
        self._under_way: dict[Connection, deque[int]] = {}
        self._ids: dict[Connection, int] = {}

    def run(self, number: int) -> None:
        """Run all tests."""
        self._config._tmp_path_factory.getbasetemp()  # made once, since whoever makes one removes those of earlier runs
        total = len(self._session.items)
        try:
            for n in range(number):
                self._begin(deque(range(total * n // number, total * (n + 1) // number)))
            while self._ids:
                for connection in wait(list(self._ids)):
                    self._hear(connection)
                    if self._session.shouldfail:
                        raise self._session.Failed(self._session.shouldfail)
                    if self._session.shouldstop:
                        raise self._session.Interrupted(self._session.shouldstop)
        finally:
            for connection in list(self._ids):
                self._end(connection)

    def _begin(self, share: deque[int]) -> None:
        ours, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        if (pid := os.fork()) == 0:
            for connection in (ours, *self._ids):
                connection.close()
            _run_in_child(self._session, theirs)
        theirs.close()
        self._ids[ours], self._left[ours], self._under_way[ours] = pid, share, deque()
        self._give(ours)

    def _give(self, connection: Connection) -> None:
        """Have a process know enough tests; None is the last."""
        given = self._under_way[connection]
        while len(given) < AHEAD:
            share = self._left[connection]
            if not share:
                longest = max(self._left.values(), key=len)
                share.extend(reversed([longest.pop() for _ in range((len(longest) + 1) // 2)]))
            number = share.popleft() if share else None
            with contextlib.suppress(OSError):  # it has died, which is heard of
                connection.send(number)
            if number is None:
                return
            given.append(number)

    def _hear(self, connection: Connection) -> None:
        try:
            name, told = connection.recv()
        except (EOFError, ConnectionError):
            self._is_gone(connection)
            return
        if name == "warning":
            self._config.hook.pytest_warning_recorded.call_historic(kwargs=told)
            return
        item = self._session.items[self._under_way[connection].popleft()]
        self._log(item, [self._config.hook.pytest_report_from_serializable(config=self._config, data=d) for d in told])
        self._give(connection)

    def _log(self, item: pytest.Item, reports: list[pytest.TestReport]) -> None:
        hook = self._config.hook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in reports:
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _is_gone(self, connection: Connection) -> None:
        """Have the test fail in which a process has died, and another take its place."""
        under_way, left = self._under_way[connection], self._left[connection]
        status = self._end(connection)
        if not under_way and status == 0:
            return
        if not under_way:
            raise RuntimeError(f"a process of the tests ended with {status} behind its last test")
        item = self._session.items[under_way.popleft()]
        said = f"its process ended with {status} in it, or in the fixtures of tests before it"
        location = item.location
        self._log(item, [pytest.TestReport(item.nodeid, location, {}, "failed", said, "call")])
        self._begin(under_way + left)

    def _end(self, connection: Connection) -> int:
        """Wait for the end of a process, which closes what its tests share: its exit code, or minus the signal's number."""
        connection.close()
        del self._left[connection], self._under_way[connection]
        return os.waitstatus_to_exitcode(os.waitpid(self._ids.pop(connection), 0)[1])


def _run_in_child(session: pytest.Session, connection: Connection) -> NoReturn:
    """Be one of the processes, to its end."""
    atexit._clear()  # what the other process has to do at its end
    code = 1
    try:
        _Child(session, connection).run()
        code = 0
    except (EOFError, ConnectionError, KeyboardInterrupt):  # no more is wanted
        pass
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        with contextlib.suppress(BaseException):
            session._setupstate.teardown_exact(None)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Child:
    """Runs tests whose numbers come over a connection, and tells how they end.

    Args:
        session: The tests.
        connection: To the process that it is forked from.
    """

    def __init__(self, session: pytest.Session, connection: Connection) -> None:
        self._session = session
        self._config = session.config
        self._connection = connection
        self._reports: list[Any] = []
        self._is_told = False
        """Whether what is recorded is told: on its registration a plugin has all that was before."""

    def run(self) -> None:
        """Run them all."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        capture.stop_global_capturing()  # into files whose positions are the other process's as well
        capture.start_global_capturing()
        capture.suspend_global_capture()
        temporary = self._config._tmp_path_factory
        temporary._basetemp = temporary.mktemp("process")  # a name is made by looking at all that there are
        plugins = self._config.pluginmanager
        plugins.unregister(name="terminalreporter")
        plugins.register(self)
        self._is_told = True
        numbers = self._numbers()
        number = next(numbers, None)
        while number is not None:
            item = self._session.items[number]
            number = next(numbers, None)
            next_item = None if number is None else self._session.items[number]
            self._reports = []
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=next_item)
            self._connection.send(("reports", self._reports))
            # The other process finds the same in the reports.
            if self._session.shouldfail or self._session.shouldstop:
                return

    def _numbers(self) -> Iterator[int]:
        while (number := self._connection.recv()) is not None:
            yield number

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what is to be told."""
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._reports.append(data)

    def pytest_warning_recorded(
        self, warning_message: warnings.WarningMessage, when: str, nodeid: str, location: tuple[str, int, str] | None
    ) -> None:
        """Tell it; of an object that it is about, not."""
        if not self._is_told:
            return
        about = warning_message
        plain = warnings.WarningMessage(about.message, about.category, about.filename, about.lineno)
        told = {"warning_message": plain, "when": when, "nodeid": nodeid, "location": location}
        self._connection.send(("warning", told))
