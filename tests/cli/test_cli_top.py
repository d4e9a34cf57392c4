"""`asyncjobs top`: a live picture in a terminal, and tables elsewhere."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
from pathlib import Path
from uuid import UUID

import pytest

from asyncjobs.cli.top_figures import Figures, Rates, rates
from asyncjobs.cli.top_screen import Picture, Place, shared
from asyncjobs.db.reading import Counters, FailedKind, QueueRow, RunningJob, WorkerRow
from asyncjobs.terminal.keyboard import keys, names
from docs.images import pictures
from docs.images import top as picture_of_docs
from tests.cli.conftest import execute
from tests.support import warm
from tests.support.asking import until
from tests.support.processes import until_so
from tests.support.sweeps import slowly

_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
ALTERNATE_SCREEN_OFF, CURSOR_ON = b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """A terminal with `asyncjobs top` in it."""

    def __init__(self, cli, *, lines=40, columns=140, **environment):
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.mode = termios.tcgetattr(self._theirs)
        self.process = warm.start(
            [sys.executable, "-m", "asyncjobs", "top"],
            cwd=cli.directory,
            env={**os.environ, **cli.environment, "TERM": "xterm", **environment},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            terminal=True,
        )
        self.shown = b""
        """Since the last key."""
        os.set_blocking(self._ours, False)

    def _read(self):
        with contextlib.suppress(BlockingIOError, OSError):
            while part := os.read(self._ours, 65536):
                self.shown += part

    def press(self, key):
        self._read()
        self.shown = b""
        os.write(self._ours, key.encode())

    async def sees(self, text):
        """Wait until a text stands on the screen that was not there before the last key."""

        def is_there():
            self._read()
            return text in _ESCAPES.sub(b"", self.shown).decode(errors="replace")

        try:
            await until_so(is_there)
        except TimeoutError:
            raise AssertionError(_ESCAPES.sub(b"", self.shown).decode(errors="replace")[-4_000:]) from None

    async def ends(self):
        """Wait until the command has ended; its exit code, and whether the terminal is as it was."""

        def is_over():
            self._read()
            return self.process.poll() is not None

        await until_so(is_over)
        self._read()
        is_plain = ALTERNATE_SCREEN_OFF in self.shown and CURSOR_ON in self.shown
        return self.process.returncode, is_plain and termios.tcgetattr(self._theirs) == self.mode

    @property
    def is_raw(self):
        return termios.tcgetattr(self._theirs)[3] & termios.ICANON == 0

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@pytest.fixture
def terminal(cli):
    """Open a terminal with the command in it."""
    with contextlib.ExitStack() as opened:

        def make(**options):
            made = Terminal(cli, **options)
            opened.callback(made.close)
            return made

        yield make


@pytest.fixture
async def busy(database_url, end, sql):
    """A worker that is none with two jobs that run, a queue with three more, and two kinds of failed jobs."""
    await end(count=2, kind="shop.charge", queue="q")
    await end(count=1, kind="shop.rates", age="10 min")
    await end(count=1, kind="shop.old", age="2 h")
    about = json.dumps({"host": "h1", "pid": 7, "pools": [{"queues": ["mails"], "concurrency": 4}]})
    [[worker], *_] = await execute(
        database_url,
        f"insert into asyncjobs.worker (id, backend_pid, backend_start, about, lease) "
        f"values (gen_random_uuid(), 1, now(), '{about}', interval '1 hour') returning id",
        "select asyncjobs.enqueue('shop.send', queue => 'mails') from generate_series(1, 5)",
    )
    rows = await sql(
        f"update asyncjobs.job set state = 2, worker = '{worker['id']}', fence = nextval('asyncjobs.fence_seq'), attempt = 1, "
        "started_at = now() - interval '90 s' where id in (select id from asyncjobs.job order by id limit 2) returning id"
    )
    ids = sorted(row["id"] for row in rows)
    await sql(
        f"insert into asyncjobs.live_job (job, done, total, note, shown_at) values ('{ids[0]}', 1234, 2000, 'mail by mail', now())"
    )
    return ids


async def test_where_no_terminal_looks_on_it_prints_each_table_once(cli, busy):
    shown = (await asyncio.to_thread(cli, "top")).stdout
    assert re.search(r"^mails +3 +0 +2 +0", shown, re.MULTILINE)
    assert re.search(
        rf"^{busy[0]} +shop.send +mails +1m 3\ds +1 +\S+ +1,234 of 2,000 \(61 %\): mail by mail$", shown, re.MULTILINE
    )
    assert re.search(r"^shop.charge +2 ", shown, re.MULTILINE) and re.search(r"^shop.rates +1 ", shown, re.MULTILINE)
    assert "shop.old" not in shown  # it is longer ago than an hour
    assert re.search(r" h1 +7 +mails x 4 ", shown)
    assert "\x1b" not in shown


async def test_json_has_all_that_is_shown(cli, busy):
    found = await asyncio.to_thread(cli.json, "top")
    assert [(row["queue"], row["ready"], row["running"]) for row in found["queues"]] == [("mails", 3, 2)]
    assert [row["id"] for row in found["running"]] == [str(job) for job in busy]
    assert {row["kind"]: row["jobs"] for row in found["failed_1h"]} == {"shop.charge": 2, "shop.rates": 1}
    assert [row["pid"] for row in found["workers"]] == [7]
    assert found["counters"]["readied"] >= 5 and found["counters"]["claimed"] >= 2


async def test_a_queue_is_paused_and_goes_on_by_a_key(terminal, busy, own_connection):
    screen = terminal(PYTHONIOENCODING="ascii")
    await screen.sees("up, down select")
    await screen.sees("q quit")
    assert screen.is_raw
    screen.press("p")
    await until(own_connection, "select name from asyncjobs.pause where name = 'mails'")
    await screen.sees("paused by")
    await screen.sees("1,234 of 2,000 (61 %)")
    screen.press("p")
    await screen.sees("queue mails goes on")
    assert await own_connection.fetchval("select count(*) from asyncjobs.pause") == 0
    screen.press("q")
    assert await screen.ends() == (0, True)


async def test_a_job_is_cancelled_and_failed_ones_retried_once_somebody_has_agreed(terminal, busy, own_connection):
    cancelled = "select cancel_reason is not null from asyncjobs.job where id = $1"
    screen = terminal()
    await screen.sees("q quit")
    screen.press("c")
    await screen.sees("c is for running jobs")
    screen.press("\t")  # the next table
    screen.press("c")
    await screen.sees(f"cancel job {busy[0]}? y / n")
    screen.press("x")
    await screen.sees("nothing was changed")
    assert not await own_connection.fetchval(cancelled, busy[0])
    screen.press("\x1b[B")  # down
    screen.press("c")
    await screen.sees(f"cancel job {busy[1]}? y / n")
    screen.press("y")
    await screen.sees(f"job {busy[1]} is cancelled")
    assert await own_connection.fetchval(cancelled, busy[1])
    screen.press("\t")
    screen.press("r")
    await screen.sees("retry 2 failed jobs of shop.charge? y / n")
    screen.press("y")
    await screen.sees("2 jobs of shop.charge retried")
    assert await own_connection.fetchval("select count(*) from asyncjobs.job where kind = 'shop.charge'") == 2
    screen.press("?")
    await screen.sees("pause the queue, or let it go on")
    screen.press("q")
    assert await screen.ends() == (0, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, *slowly(signal.SIGINT, signal.SIGHUP)])
async def test_a_signal_ends_it_and_the_terminal_is_as_it_was(terminal, number):
    screen = terminal()
    await screen.sees("no live jobs")
    screen.process.send_signal(number)
    assert await screen.ends() == (0 if number is signal.SIGINT else 128 + number, True)


async def test_while_it_is_suspended_the_terminal_is_as_it_was(terminal):
    screen = terminal()
    await screen.sees("no live jobs")
    screen.process.send_signal(signal.SIGTSTP)
    await until_so(lambda: not screen.is_raw)
    await until_so(lambda: state_of(screen.process.pid) == "T")
    screen.press("")
    screen.process.send_signal(signal.SIGCONT)
    await screen.sees("no live jobs")
    assert screen.is_raw
    screen.press("q")
    assert await screen.ends() == (0, True)


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_a_database_that_is_lost_leaves_the_last_figures_and_is_found_again(
    terminal, busy, server, own_connection
):
    name = await own_connection.fetchval("select current_database()")
    allow = f'alter database "{name}" with allow_connections'
    ended = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and application_name like '% top'"
    screen = terminal()
    await screen.sees("2 running in 4 slots of 1 workers")
    await execute(server.url("postgres"), f"{allow} false", ended)
    await screen.sees("not up to date: ")
    screen.press("")
    await screen.sees("shop.charge")
    await execute(server.url("postgres"), f"{allow} true")
    await screen.sees("2 running in 4 slots of 1 workers")
    screen.press("q")
    assert await screen.ends() == (0, True)


async def test_what_is_wrong_from_the_beginning_is_a_line_and_no_picture(make_cli, empty_database_url):
    screen = Terminal(make_cli(empty_database_url))
    try:
        await until_so(lambda: screen.process.poll() is not None)
        await screen.sees("asyncjobs db migrate")
        assert screen.process.returncode == 3
        assert b"\x1b[?1049h" not in screen.shown
    finally:
        screen.close()


async def test_the_mode_of_a_terminal_is_put_back_whatever_is_raised():
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    pressed = []
    with contextlib.suppress(ZeroDivisionError), keys(theirs, pressed.append):
        assert termios.tcgetattr(theirs) != before
        os.write(ours, "é\x1b[A\t".encode())
        await until_so(lambda: len(pressed) == 3)
        raise ZeroDivisionError
    assert pressed == ["é", "up", "tab"]
    assert termios.tcgetattr(theirs) == before
    os.close(theirs)
    os.close(ours)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"q", ["q"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[A\x1bOB\x1b[5~", ["up", "down", "page up"]),
        (b"\x1b[1;5C", ["\x1b[1;5C"]),
        (b"\xff\x80\x80", ["\ufffd\ufffd\ufffd"]),
        (b"", []),
    ],
)
def test_a_key_is_known_by_what_the_terminal_sends(given, expected):
    assert names(given) == expected


def figures(*, queues=0, running=0, failed=0, workers=0, claimed=0, readied=0, at=0.0, ran=0):
    return Figures(
        [QueueRow(f"queue{n}", 1, 0, ran, 0, 1.0, True) for n in range(queues)],
        [],
        [RunningJob(UUID(int=n), f"kind{n}", "q", 1, None, 2.0, False, None, None, None) for n in range(running)],
        [FailedKind(f"failed{n}", 1, 3.0, True) for n in range(failed)],
        [WorkerRow(UUID(int=n), {"host": "h", "pid": n}, {}, 1.0, 0.1, False, 0) for n in range(workers)],
        Counters(readied, claimed, at),
    )


def drawn(picture, height):
    console = pictures.recorder(width=100, height=height)
    console.print(picture.draw(height))
    return console.export_text().rstrip("\n").split("\n")


@pytest.mark.parametrize("height", [9, 24, 40])
@pytest.mark.parametrize("lengths", [(0, 0, 0, 0), (1, 1, 1, 1), (3, 200, 40, 9), (500, 0, 0, 1)])
def test_the_picture_is_no_higher_than_the_terminal_and_the_selected_row_is_in_it(height, lengths):
    picture = Picture()
    picture.show(figures(**dict(zip(("queues", "running", "failed", "workers"), lengths, strict=True))), None)
    for key in ("end of list", "up", "home", "tab", "page down"):
        picture.move(key)
        lines = drawn(picture, height)
        assert len(lines) <= height
        if picture.selected:
            shown = f"h:{picture.selected.key.int}" if picture.selected.sort == "worker" else str(picture.selected.key)
            assert any(shown in line for line in lines)


def test_the_cursor_keeps_to_what_it_is_on_and_goes_to_its_neighbour_when_that_is_gone():
    picture = Picture()
    picture.show(figures(queues=3), None)
    picture.move("down")
    assert picture.selected == Place("queue", "queue1")
    picture.show(figures(queues=3)._replace(queues=figures(queues=3).queues[::-1]), None)
    assert picture.selected == Place("queue", "queue1")
    picture.show(figures(queues=1), None)
    assert picture.selected == Place("queue", "queue0")
    picture.show(figures(), None)
    assert picture.selected is None
    picture.move("down")
    assert picture.selected is None


def test_rates_are_differences_a_second():
    before = figures(queues=1, readied=100, claimed=50, at=10.0, ran=5)
    assert rates(before, figures(queues=1, readied=120, claimed=70, at=12.0, ran=9)) == Rates(10.0, 10.0, 8.0)
    assert rates(before, before) is None


@pytest.mark.parametrize(
    ("lengths", "room", "expected"),
    [
        ([5, 5], 4, [2, 2]),
        ([1, 9], 6, [1, 5]),
        ([9, 9], 0, [0, 0]),
        ([0, 3], 9, [0, 3]),
        ([9, 9, 9], 10, [6, 2, 2]),
        ([], 5, []),
    ],
)
def test_rooms_are_shared(lengths, room, expected):
    assert shared(lengths, room) == expected


def test_names_in_the_picture_control_no_terminal():
    picture = Picture()
    found = figures(queues=1)
    picture.show(found._replace(queues=[found.queues[0]._replace(queue="\x1b[31mred[bold]")]), None)
    assert any("\\x1b[31mred[bold]" in line for line in drawn(picture, 30))


def test_the_picture_of_the_documents_is_what_the_command_draws(tmp_path):
    picture_of_docs.main(tmp_path)
    texts = [
        re.sub(r"<[^>]+>", "", path.read_text()) for path in (tmp_path / "top.svg", picture_of_docs.HERE / "top.svg")
    ]
    assert texts[0] == texts[1], "draw it anew: python -m docs.images.top"
