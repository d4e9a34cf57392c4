"""What is printed for people, and what for machines."""

import io
import json
import logging

import pytest

from asyncjobs import logs
from asyncjobs.terminal import printing
from tests.cli.conftest import on_terminal


class Terminal(io.StringIO):
    def isatty(self):
        return True


def record(level=logging.WARNING, **extra):
    made = logging.getLogger("some").makeRecord("some", level, "f", 1, "it is %s", ("so",), None, extra=extra)
    made.message = made.getMessage()
    return made


def test_a_terminal_gets_colours_and_text_and_no_color_is_honoured(cli):
    coloured = on_terminal(cli, "doctor")
    assert "\x1b[33mwarn\x1b[0m  workers" in coloured
    assert "\x1b[" not in on_terminal(cli, "doctor", NO_COLOR="1")
    assert " INFO     asyncjobs.process: ready: worker" in on_terminal(cli, "run", "--burst")
    assert "no live jobs" in on_terminal(cli, "status")


def test_a_pipe_gets_json_log_lines_unless_text_is_asked_for(cli):
    for line in cli("run", "--burst").stderr.splitlines():
        assert json.loads(line)
    assert " INFO     asyncjobs.process: ready" in cli("run", "--burst", "--log-format", "text").stderr


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_for_terminals_only(monkeypatch, variable, value):
    monkeypatch.setenv("TERM", "xterm")
    assert logs.wants_colours(Terminal())
    assert not logs.wants_colours(io.StringIO())
    monkeypatch.setenv(variable, value)
    assert not logs.wants_colours(Terminal())


def test_a_json_line_holds_what_json_has_no_form_for_and_keeps_its_own_names():
    line = json.loads(logs.JsonLines().format(record(worker={1}, logger="mine", error=ValueError("x"))))
    assert line["worker"] == "{1}"
    assert line["level"] == "warning"
    assert line["logger"] == "some"
    assert line["message"] == "it is so"
    assert line["error"] == "x"


def test_a_text_line_is_coloured_by_its_level():
    assert logs.TextLines(colours=True).format(record()).startswith("\x1b[33m")
    assert "\x1b" not in logs.TextLines(colours=False).format(record())
    assert "\x1b" not in logs.TextLines(colours=True).format(record(logging.INFO))


def test_columns_are_aligned_and_numbers_stand_to_the_right(capsys):
    printing.table(["name", "n"], [("a", 5), ("longer\n\x1b[1m", 10)], empty="none")
    assert capsys.readouterr().out == "name                n\na                   5\nlonger\\x0a\\x1b[1m  10\n"
    printing.table(["name"], [], empty="none")
    assert capsys.readouterr().out == "none\n"


def test_no_value_steers_the_terminal(capsys):
    printing.fields({"one": "\x1b[1m\n", "more": "a\n\x1b[1m\u202e", "empty": None})
    assert capsys.readouterr().out == "one    \\x1b[1m\nmore\n  a\n  \\x1b[1m\\u202e\nempty\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (-0.1, "0.0s"), (0.44, "0.4s"), (61, "1m 1s"), (3600, "1h"), (90061, "1d 1h"), (59.9, "59s")],
)
def test_an_age_is_told_in_two_units_at_most(seconds, text):
    assert printing.age(seconds) == text
