"""The demo as a process, with everything it starts and leaves."""

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from asyncjobs.demo.cards import draw_card
from asyncjobs.demo.clouds import lay_out
from asyncjobs.demo.gallery import write_whole
from asyncjobs.demo.words import count_words
from tests.support import warm
from tests.support.processes import PATIENCE, first_of

ROOT = Path(__file__).resolve().parents[2]
END = PATIENCE
WORDS = "the quiet river runs past an old mill where seven herons wait for silver fish under tall willows"


def write_card(card, title, text):
    """Draw a card of a text."""
    analysis = count_words(text)
    write_whole(card, draw_card(title, analysis, lay_out(analysis)), card.with_name("part"))


def until(condition, seconds=END):
    """Look until *condition* gives something true, and give that back."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)
    return found


class Demo:
    """One `asyncjobs demo`, in a terminal of its own or with its output in a file."""

    def __init__(self, directory, words, environment, *, terminal=False, anew=False):
        self.directory = directory
        self.temporary = directory / "t m p"
        self.temporary.mkdir(exist_ok=True)
        self.keys = None
        self._output = directory / f"output{time.monotonic_ns()}"
        out, theirs = (subprocess.PIPE, None) if not terminal else self._open_terminal()
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("ASYNCJOBS_", "PG", "NO_COLOR", "TERM"))}
        with self._output.open("wb") as file:
            self.process = warm.start(
                [sys.executable, "-m", "asyncjobs", "demo", *map(str, words)],
                cwd=directory,
                env={**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary), **environment},
                stdin=theirs if terminal else subprocess.DEVNULL,
                stdout=theirs if terminal else file,
                stderr=theirs if terminal else subprocess.PIPE,
                start_new_session=True,
                terminal=terminal,
                anew=anew,
            )
        if terminal:
            os.close(theirs)
        self._shown = b""

    def _open_terminal(self):
        self.keys, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 100))
        os.set_blocking(self.keys, False)
        return None, theirs

    @property
    def output(self):
        """What it has printed, on a terminal with all that was drawn over."""
        if self.keys is None:
            return self._output.read_text()
        with contextlib.suppress(OSError):  # nothing new, or its end
            while data := os.read(self.keys, 65536):
                self._shown += data
        return self._shown.decode(errors="replace")

    @property
    def cards(self):
        return sorted(card.name for card in (self.directory / "cards").glob("*.svg"))

    def hang_up(self):
        """Close its terminal."""
        os.close(self.keys)
        self.keys = None

    def wait_for(self, text):
        """Wait until it has printed *text*."""
        until(lambda: text in self.output or self.process.poll() is not None)
        assert text in self.output

    def end(self, code=0, seconds=END):
        """Wait for its end and give its errors back."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            _ = self.output  # a terminal that is not read would stop it
            assert time.monotonic() < deadline, f"it still runs:\n{self.output}"
            time.sleep(0.01)
        errors = self.process.stderr.read().decode() if self.process.stderr else ""
        assert self.process.returncode == code, f"exit code {self.process.returncode}:\n{self.output}\n{errors}"
        assert "Traceback" not in errors + self.output
        return errors

    def summary(self):
        return json.loads(self.output)

    def workers(self):
        """The pids of its worker processes."""
        return [pid for pid, command in self._processes() if b"asyncjobs.demo.jobs" in command]

    def postmasters(self):
        return first_of([pid for pid, command in self._processes() if b"-D" in command])

    def _processes(self):
        homes = [os.fsencode(home) for home in self._homes()]
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (place / "cmdline").read_bytes()
                if b"warm_server.py" in words:  # forked: a worker is known by its log
                    log = (place / "fd" / "1").readlink()
                    if log.name == "worker.log" and any(log.is_relative_to(os.fsdecode(home)) for home in homes):
                        yield int(place.name), [b"asyncjobs.demo.jobs"]
                    continue
                known = words + (place / "environ").read_bytes() if b"asyncjobs" in words else words
                ours = b"demo\0" not in words  # not the demo itself
                if words and ours and any(home in known for home in homes):
                    yield int(place.name), words.split(b"\0")

    def _homes(self):
        yield self.temporary
        for link in self.temporary.glob("*/elsewhere"):
            with contextlib.suppress(OSError):
                yield link.readlink()

    def footprint(self):
        """What there is of it now: directories and sockets in any place, and processes."""
        found = [path for home in self._homes() for path in (home.iterdir() if home == self.temporary else [home])]
        for home in list(self._homes()):
            for file in home.rglob("postmaster.pid"):
                with contextlib.suppress(OSError, IndexError):
                    found.append(Path(file.read_text().splitlines()[4]))
        return Footprint(found, [pid for pid, _ in self._processes()])

    def kill(self):
        """End everything it has started, whatever state it is in, and remove what is not in the test's directory."""
        footprint = self.footprint()
        for pid in (self.process.pid, *footprint.pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for path in footprint.paths:
            shutil.rmtree(path, ignore_errors=True)
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        if self.keys is not None:
            os.close(self.keys)


class Footprint:
    def __init__(self, paths, pids):
        self.paths, self.pids = paths, pids

    @property
    def left(self):
        """What of it there is still."""
        alive = [pid for pid in self.pids if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)]
        return [path for path in self.paths if os.path.lexists(path)] + alive


def _is_zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.fixture
def start(tmp_path, copying_postgres):
    """Start a demo in a directory with a space in its name; nothing of it outlives the test."""
    started = []
    directory = tmp_path / "a place"
    directory.mkdir()

    def start(*words, environment=(), terminal=False, anew=False):
        given = {"ASYNCJOBS_PG_BIN": copying_postgres, **dict(environment)}
        demo = Demo(directory, [*words, "--out", "cards"], given, terminal=terminal, anew=anew)
        started.append(demo)
        return demo

    start.directory = directory
    yield start
    for demo in started:
        demo.kill()
