"""Log lines on their way from a process job to its worker, and where `asyncjobs run` sends them."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from asyncjobs import AsyncJobs, job
from asyncjobs.definitions import registry
from asyncjobs.logs import JsonLines, TextLines
from asyncjobs.processes.forking import _ToWorker
from asyncjobs.worker.job_processes.attempt_process import log as _log
from tests.support import warm

log = logging.getLogger("logs.of_the_jobs")


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Channel:
    """Carries log records to the worker, which is here."""

    def send(self, _word: str, record: Any) -> None:
        _log(json.loads(json.dumps(record)))


@pytest.fixture
def arrived() -> Any:
    """The records that arrive, of a logger that sends them as in a process job."""
    sender, kept = logging.getLogger("logs.sent"), Kept()
    root_handlers, names = logging.root.handlers[:], logging.root.manager.loggerDict
    others = {
        name: (each.handlers[:], each.propagate) for name, each in names.items() if isinstance(each, logging.Logger)
    }
    handler = _ToWorker(Channel())  # type: ignore[arg-type]
    worker = logging.getLogger("logs.worker")
    worker.addHandler(kept)
    sender.addHandler(handler)
    sender.propagate = False
    sender.addFilter(lambda record: setattr(record, "name", "logs.worker") or True)
    for each in (sender, worker):
        each.setLevel(logging.INFO)
    yield kept.records
    logging.root.handlers[:] = root_handlers
    for name, (handlers, propagate) in others.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).propagate = propagate
    sender.handlers.clear()
    worker.handlers.clear()


def test_the_message_of_a_record_arrives_with_its_arguments_filled_in_and_a_dictionary_as_one(
    arrived: list[logging.LogRecord],
) -> None:
    sender = logging.getLogger("logs.sent")
    sender.info({"event": "paid", "amount": 3}, extra={"_logger": sender})  # as structlog's ProcessorFormatter wants it
    sender.info("paid %s of %r", 3, {"currency": "EUR"})
    assert arrived[0].msg == {"event": "paid", "amount": 3}
    assert arrived[0].__dict__["_logger"] is sender
    assert (arrived[1].msg, arrived[1].args) == ("paid 3 of {'currency': 'EUR'}", None)
    assert [record.funcName for record in arrived] == [sys._getframe().f_code.co_name] * 2


def test_what_json_has_no_form_for_arrives_as_text(arrived: list[logging.LogRecord]) -> None:
    logging.getLogger("logs.sent").info("locked by %s", threading.Lock(), extra={"lock": threading.Lock(), "n": 7})
    assert arrived[0].getMessage().startswith("locked by <unlocked")
    assert arrived[0].__dict__["lock"].startswith("<unlocked") and arrived[0].__dict__["n"] == 7


def test_in_a_process_of_its_own_no_handler_of_the_programs_writes_beside_the_worker(
    arrived: list[logging.LogRecord],
) -> None:
    own = logging.getLogger("logs.own")
    own.addHandler(logging.StreamHandler())
    own.propagate = False
    _ToWorker(Channel())  # type: ignore[arg-type]
    assert (own.handlers, own.propagate) == ([], True)


@job(kind="logs.in_process", executor="process")
def in_process() -> None:
    log.warning({"event": "from a process job"})


@pytest.fixture
def only_these_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all that the tests of this run define, some is for the processes of workers alone, and cannot be imported here."""
    here = {name: definition for name, definition in registry.by_name().items() if name.startswith("logs.")}
    monkeypatch.setattr(registry, "_definitions", here)


@pytest.mark.usefixtures("only_these_kinds")
async def test_a_process_jobs_record_is_logged_by_the_worker_with_the_message_it_had(
    jobs: AsyncJobs, caplog: pytest.LogCaptureFixture
) -> None:
    await (await in_process().enqueue()).result(timeout=40)
    [record] = [record for record in caplog.records if record.name == log.name]
    assert record.msg == {"event": "from a process job"}


FAILS = """
from asyncjobs import job

@job(kind="logs.fails")
async def fails() -> None:
    logging.getLogger("app").warning("a line of the job")
    raise ValueError("on purpose")
"""
SETUPS = {
    "nothing": "import logging",
    "basicConfig": 'import logging\nlogging.basicConfig(format="mine %(message)s", level="INFO")',
    "a handler": "import logging\nlogging.getLogger().addHandler(logging.StreamHandler())",
    "dictConfig": """
import logging.config
logging.config.dictConfig({
    "version": 1, "formatters": {"mine": {"format": "mine %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "mine"}},
    "root": {"level": "INFO", "handlers": ["out"]},
})
""",
}


async def _enqueue(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("select asyncjobs.enqueue(kind => 'logs.fails')")
    await connection.close()


def _burst(directory: Path, url: str, *words: str) -> str:
    """Run a worker until nothing is left; return what it said."""
    done = warm.run(
        [sys.executable, "-m", "asyncjobs", "run", "logs_of_theirs", "--burst", *words],
        cwd=directory,
        env={**os.environ, "ASYNCJOBS_DATABASE_URL": url},
        timeout=120,
    )
    return done.stderr


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS.keys())
async def test_a_worker_says_each_line_once_however_its_modules_set_up_logging(
    database_url: str, tmp_path: Path, setup: str
) -> None:
    (tmp_path / "logs_of_theirs.py").write_text(setup + FAILS)
    await _enqueue(database_url)
    said = await asyncio.to_thread(_burst, tmp_path, database_url)
    assert said.count("a line of the job") == 1
    assert len([line for line in said.splitlines() if "failed: ValueError: on purpose" in line]) == 1
    assert ("mine a line" in said) == ("mine" in setup)


async def test_a_worker_leaves_logging_alone_where_it_is_told_to(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "logs_of_theirs.py").write_text("import logging" + FAILS)
    await _enqueue(database_url)
    said = await asyncio.to_thread(_burst, tmp_path, database_url, "--log-format", "none")
    assert "ready: worker" not in said  # as Python has it without any set-up: from warnings on
    assert "a line of the job\n" in said.replace("\r", "")


def test_what_is_disabled_by_a_dict_config_speaks_again_and_levels_are_kept() -> None:
    from asyncjobs.logs import speak_up

    ours, theirs = logging.getLogger("asyncjobs.worker"), logging.getLogger("logs.theirs")
    ours.disabled = theirs.disabled = True
    speak_up()
    assert (ours.disabled, theirs.disabled) == (False, True)
    theirs.disabled = False


HOSTILE = "x\n12:00:00.000 CRITICAL asyncjobs.worker: forged\x1b[2J\r\x9b31m\u202e\u2028\ud800"
RAW = {"\x1b", "\r", "\x9b", "\u202e", "\u2028", "\ud800"}


def failing() -> logging.LogRecord:
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        found = (type(error), error, error.__traceback__)
    return logging.LogRecord("asyncjobs\x1b", logging.ERROR, __file__, 1, "failed: %s", (HOSTILE,), found)


@pytest.mark.parametrize("colours", [True, False])
def test_a_text_line_steers_no_terminal_and_no_second_line_looks_like_one_of_ours(colours: bool) -> None:
    text = TextLines(colours=colours).format(failing())
    text = text.replace("\x1b[31m", "").replace("\x1b[0m", "") if colours else text
    assert not RAW & set(text)
    assert all(line.startswith("  ") for line in text.split("\n")[1:])
    assert "ValueError: x" in text


def test_a_json_line_holds_nothing_that_a_terminal_obeys_and_says_the_same() -> None:
    text = JsonLines().format(failing())
    assert not (RAW | {"\n"}) & set(text)
    assert json.loads(text)["message"] == f"failed: {HOSTILE}"
