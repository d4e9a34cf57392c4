"""`asyncjobs web`: what it refuses before it serves anything."""

import socket

import pytest

from asyncjobs.cli import web
from asyncjobs.exceptions import InvalidCall
from asyncjobs.web import missing
from tests.support.commands import run_here


def test_an_address_that_others_reach_is_refused_without_auth():
    for host in ("0.0.0.0", "::", "192.168.1.4", "jobs.example.com"):
        done = run_here(["web", "--host", host])
        assert done.exit_code == 2
        assert f"--host {host} can be reached from elsewhere" in done.stderr
        assert "ssh -L 8080:127.0.0.1:8080" in done.stderr


def test_loopback_is_what_only_this_machine_reaches():
    assert all(map(web.is_loopback, ("127.0.0.1", "127.3.2.1", "::1", "localhost")))
    assert not any(map(web.is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com", "")))


def test_an_auth_that_is_not_there_is_a_usage_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_here(["web", "--auth", "nowhere.allow"])
    assert done.exit_code == 2
    assert "nowhere" in done.stderr


def test_a_port_that_is_taken_is_said_so(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_here(["web", "--port", str(port)], {"ASYNCJOBS_DATABASE_URL": url})
    assert done.exit_code == 2
    assert f"--port {port}: Address already in use: give another, or --port 0" in done.stderr


def test_without_the_extra_the_command_and_the_call_say_what_to_install(monkeypatch):
    monkeypatch.setattr(missing, "NEEDED", ("starlette", "no_such_library"))
    done = run_here(["web"])
    assert done.exit_code == 2
    assert "the dashboard needs no_such_library: pip install 'asyncjobs-pg[web]'" in done.stderr
    with pytest.raises(InvalidCall, match="no_such_library"):
        missing.check_extra()
