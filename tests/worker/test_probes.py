"""The HTTP of probes under requests that are wrong, slow, large and many, and what a supervisor asks of its processes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from asyncjobs import AsyncJobs
from asyncjobs.checks.addresses import read_address
from asyncjobs.exceptions import InvalidSettings
from asyncjobs.probes import relay, responder
from asyncjobs.probes.answers import OK, Answer, said
from asyncjobs.probes.listening import listen
from asyncjobs.probes.relay import Asking, answer_all
from asyncjobs.probes.responder import LONGEST_HEAD, MOST_CONNECTIONS, Responder
from asyncjobs.processes.supervisor import Child
from asyncjobs.processes.supervisor_probes import SupervisorProbes
from asyncjobs.settings import load
from tests.support.probing import ask, send
from tests.support.processes import PATIENCE, until_so


async def well() -> Answer:
    return said(ok=True)


async def broken() -> Answer:
    raise RuntimeError("broken")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Where a responder answers."""
    with listen("127.0.0.1:0") as listening:
        serving = asyncio.create_task(Responder({"/livez": well, "/broken": broken}).serve(listening))
        yield listening.getsockname()[1]
        serving.cancel()
        await asyncio.wait([serving])


async def test_a_path_is_answered_with_and_without_its_body(port: int) -> None:
    found = await ask(port, "/livez?verbose=1")
    assert (found.status, found.facts) == (200, {"ok": True})
    assert found.headers["content-length"] == str(len(found.body))
    head = await ask(port, "/livez", "HEAD")
    assert (head.status, head.headers, head.body) == (200, found.headers, "")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /livez HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"DELETE /livez HTTP/1.0\r\n\r\n", 405),
        (b"GET http://elsewhere/livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),  # TLS
        (b"GET /livez HTTP/1.1\r\nX: " + b"x" * LONGEST_HEAD + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_no_request_for_a_path_is_refused(port: int, request_: bytes, status: int) -> None:
    assert (await send(port, request_)).split()[1] == str(status).encode()
    assert (await ask(port, "/livez")).status == 200


async def test_one_that_breaks_off_or_an_answer_that_fails_harms_nobody(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    for request in (b"", b"GET /livez HTTP/1.1\r\n", b"GET /broken HTTP/1.1\r\n\r\n"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        writer.close()
    assert (await ask(port, "/livez")).status == 200
    await until_so(lambda: "a probe could not be answered" in caplog.text)


async def test_one_that_says_nothing_is_ended_after_a_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder, "PATIENCE", 0.05)
    assert await send(port, b"GET /li") == b""


async def test_those_who_send_nothing_keep_no_probe_out_however_many_they_are(port: int) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5 * MOST_CONNECTIONS)]
    assert (await ask(port, "/livez")).status == OK
    for reader, _ in silent[: 4 * MOST_CONNECTIONS]:
        assert await reader.read() == b""  # closed for the others
    for _, writer in silent:
        writer.close()


async def test_with_the_responder_connections_end_that_have_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder, "PATIENCE", 3_600.0)
    with listen("127.0.0.1:0") as listening:
        at = listening.getsockname()[1]
        serving = asyncio.create_task(Responder({"/livez": well}).serve(listening))
        reader, writer = await asyncio.open_connection("127.0.0.1", at)
        assert (await ask(at, "/livez")).status == OK  # so the connection before it was taken in
        serving.cancel()
        await asyncio.wait([serving])
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PATIENCE", 0.05)
    go_on = asyncio.Event()

    async def slow() -> Answer:
        await go_on.wait()
        return Answer(OK, b"slow")

    ours, theirs = socket.socketpair()
    asking = Asking(ours)
    answering = asyncio.create_task(answer_all(theirs, {"/slow": slow, "/livez": well}))
    assert (await asking.ask("/slow")).status == 503
    monkeypatch.setattr(relay, "PATIENCE", PATIENCE)
    go_on.set()
    assert await asking.ask("/livez") == await well()
    answering.cancel()
    await asyncio.wait([answering])
    theirs.close()
    assert (await asking.ask("/livez")).status == 503  # at once: it is gone
    asking.close()


async def test_a_process_that_does_not_answer_is_dead_only_after_loop_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PATIENCE", 0.02)
    ours, theirs = socket.socketpair()
    child = Child(1, None)
    child.relay, child.listens = Asking(ours), True
    probes = SupervisorProbes(lambda: [child], 0.05)
    silent = await probes.livez()
    assert (silent.status, silent.body) == (
        200,
        b'{"ok": true, "processes": {"1": {"ok": false, "problems": ["no answer"]}}}\n',
    )
    while (await probes.livez()).status == OK:
        pass
    assert (await SupervisorProbes(lambda: [child], 0.0).livez()).status == OK
    assert (await probes.readyz()).status == 503
    child.relay.close()
    theirs.close()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        (":9000", "", 9000),
        ("[::1]:1", "::1", 1),
        ("db-1.local:65535", "db-1.local", 65535),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert read_address(text) == (host, port)
    assert load(http=text).http == text


@pytest.mark.parametrize(
    "text", ["9000", "localhost", "127.0.0.1:65536", "::1:80", "http://a:1", "a b:1", "a:", ":x", "/tmp/s:1"]
)
def test_what_is_no_address_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(InvalidSettings, match="give host:port, such as 127.0.0.1:9000"):
        load(http=text)


async def test_a_worker_inside_an_application_answers_there_and_the_port_is_free_afterwards(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    jobs = AsyncJobs(database_url=database_url, http=f"127.0.0.1:{port}")
    for _ in range(2):
        async with jobs.running():
            await until_so(lambda: jobs.healthy)
            ready = await ask(port, "/readyz")
            assert ready.facts["problems"] == []
            metrics = (await ask(port, "/metrics")).body
            ready = await ask(port, "/readyz")
            assert "asyncjobs_worker_ready 1.0" in metrics, (ready.facts, metrics)
            other = AsyncJobs(database_url=database_url, http=f"127.0.0.1:{port}")
            with pytest.raises(InvalidSettings, match=f"cannot listen on 127.0.0.1:{port}"):
                async with other.running():
                    pass
        with pytest.raises(ConnectionError):
            await ask(port, "/readyz")


async def test_a_client_alone_listens_nowhere(database_url: str) -> None:
    async with AsyncJobs(database_url=database_url, http="127.0.0.1:1"):
        pass
