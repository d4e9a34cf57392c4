"""Real worker processes, to be killed, stopped, frozen and read."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support import warm
from tests.support.oracle import WORKER_VARIABLE, Oracle
from tests.support.processes import PATIENCE, group_lives, until

ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """One running process. Made by `Workers.start`.

    Attributes:
        name: The `worker` of its lines in the oracle.
        pid: Its process id.
        log_path: Where its standard output and error go.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log_path: Path, oracle: Oracle | None) -> None:
        self.name = name
        self.pid = process.pid
        self.log_path = log_path
        self._process = process
        self._oracle = oracle
        self._told = False

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def running(self) -> bool:
        self._reap()
        return self._process.returncode is None

    def kill(self) -> None:
        """SIGKILL: this process only, not its children."""
        self.stop(signal.SIGKILL)
        self._tell("killed")
        self._told = True

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        """Send a signal; nothing when it has ended already."""
        if self.running:
            self._process.send_signal(signal_number)

    def freeze(self) -> None:
        """SIGSTOP. Runs under way are marked frozen in the oracle."""
        self.stop(signal.SIGSTOP)
        self._tell("frozen")

    def thaw(self) -> None:
        """SIGCONT."""
        self._tell("thawed")
        self.stop(signal.SIGCONT)

    async def wait_for_log(self, text: str, *, count: int = 1, timeout: float = PATIENCE) -> str:
        """Wait until *count* lines of its log contain *text*; the last of them.

        Raises:
            TimeoutError: They did not come in time; the message has the log's end.
            RuntimeError: The process ended without them.
        """
        found: list[str] = []
        size = -1

        def logged() -> bool:
            nonlocal size, found
            if (now := self.log_path.stat().st_size) != size:
                size = now
                found = [line for line in self.log.splitlines() if text in line]
            return len(found) >= count

        def over() -> bool:
            ended = not self.running  # asked first: what it wrote before its end is in the log by then
            return logged() or ended

        if not await until(over, timeout):
            raise TimeoutError(
                f"{self.name} logged {text!r} {len(found)} of {count} times in {timeout} s{self._tail()}"
            )
        if not logged():
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}, without {text!r}{self._tail()}")
        return found[count - 1]

    async def exit_code(self, timeout: float = PATIENCE) -> int:
        """Wait for its end; minus the signal's number when one ended it. TimeoutError with the log's end otherwise."""
        if not await until(lambda: not self.running, timeout):
            raise TimeoutError(f"{self.name} (pid {self.pid}) still runs after {timeout} s{self._tail()}")
        return self._process.returncode

    async def end(self) -> None:
        """SIGKILL it and its process group, frozen or not, and wait until it is gone."""
        self.kill_group()
        await until(lambda: not self.running and not group_lives(self.pid))

    def kill_group(self) -> None:
        """SIGKILL it and its process group, frozen or not."""
        for number in (signal.SIGCONT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)  # it leads a group of its own: a supervisor's children are in it

    def _reap(self) -> None:
        if self._process.poll() is not None and not self._told:
            self._told = True
            self._tell("exited")

    def _tell(self, event: str) -> None:
        if self._oracle is not None:
            self._oracle.write(event, of=self.pid, name=self.name)

    def _tail(self) -> str:
        return f"; the end of its log:\n{self.log[-3000:]}"


class Workers:
    """Starts workers, and ends all of them at the end of the `async with`, whatever happens.

    Args:
        directory: Where their logs go.
        oracle: Where their jobs write, and where their deaths are noted.
        environment: For all of them, beside the test's own.
        anew: Each is a new interpreter, as where it is measured: what is forked from a warm one copies its pages.
    """

    def __init__(
        self,
        directory: Path,
        *,
        oracle: Oracle | None = None,
        environment: Mapping[str, str] | None = None,
        anew: bool = False,
    ) -> None:
        self.started: list[Worker] = []
        self._directory = directory
        self._oracle = oracle
        self._environment = dict(environment or {})
        self._anew = anew

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for worker in self.started:
            worker.kill_group()  # all at once: those that live on would look for what a dead one has left
        for worker in self.started:
            await worker.end()

    def start(
        self,
        *modules: str,
        config: Path | None = None,
        args: Sequence[str] = (),
        name: str = "",
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        directory: Path = ROOT,
        **options: Any,
    ) -> Worker:
        """Start `python -m asyncjobs run <modules> --config <config> <args>`.

        Args:
            modules: Importable names of modules with jobs.
            config: A config.toml.
            args: Further words for `run`, such as `--burst`.
            name: For the log's name and the oracle; default `worker1`, `worker2` …
            environment: For this one.
            command: Run this instead.
            directory: Where it runs.
            options: Others of `warm.start`.
        """
        name = name or f"worker{len(self.started) + 1}"
        asked = [sys.executable, "-m", "asyncjobs", "run", *modules]
        asked += [] if config is None else ["--config", str(config)]
        log_path = self._directory / f"{name}.log"
        with log_path.open("ab") as log:
            process = warm.start(
                [*(command or asked), *args],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=self._environment_of(name, environment),
                start_new_session=True,
                ends_with_parent=True,
                anew=self._anew,
                **options,
            )
        worker = Worker(name, process, log_path, self._oracle)
        self.started.append(worker)
        return worker

    def _environment_of(self, name: str, own: Mapping[str, str] | None) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        told = self._oracle.environment if self._oracle is not None else {}
        ours = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", WORKER_VARIABLE: name}
        return {**os.environ, **ours, **told, **self._environment, **(own or {})}
