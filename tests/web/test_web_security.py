"""Who comes in, what a browser may do with the pages, and requests that are wrong."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import RedirectResponse
from web_jobs import Web, double, fail

from asyncjobs import AsyncJobs, InvalidOption, Limit, Unique, job
from asyncjobs.db import looking
from asyncjobs.web import tokens
from asyncjobs.web.tokens import Tokens

POSTS = ("/do/jobs", "/do/queue", "/do/recurring", "/do/worker")


async def test_without_auth_this_machine_alone_comes_in(client: AsyncJobs) -> None:
    application = client.dashboard()
    for address in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"):
        assert (await Web(application, client=address).get("/")).status_code == 200, address
    for address in ("10.0.0.7", "192.168.1.4", "2001:db8::1", "testclient"):
        answer = await Web(application, client=address).get("/")
        assert answer.status_code == 403
        assert "asyncjobs web --auth" in answer.text
    assert (await Web(application, base="http://10.0.0.5:8080").get("/")).status_code == 403
    assert (await Web(application, client="10.0.0.7").get("/api/jobs")).json()["error"] == "Only from this machine"


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-host"])
async def test_without_auth_what_came_through_a_proxy_is_refused(web: Web, header: str) -> None:
    answer = await web.get("/", headers={header: "127.0.0.1"})
    assert (answer.status_code, "through a proxy" in answer.text) == (403, True)


async def test_without_auth_http_1_0_is_refused_which_a_proxy_speaks_and_no_browser(client: AsyncJobs) -> None:
    application, said = client.dashboard(), []

    async def older(scope, receive, send):
        await application({**scope, "http_version": "1.0"}, receive, send)

    said.append((await Web(older).get("/")).status_code)
    assert said == [403]


@pytest.mark.parametrize("host", ["rebound.example.com", "localhost.example.com", "127.0.0.1.nip.io", "[", ""])
async def test_without_auth_another_name_of_this_machine_is_refused(web: Web, host: str) -> None:
    answer = await web.get("/", headers={"host": host})
    assert answer.status_code == 403
    for name in ("localhost:8080", "127.0.0.1", "[::1]:8080", "jobs.localhost"):
        assert (await web.get("/", headers={"host": name})).status_code == 200


@pytest.mark.parametrize("asks", ["def", "async def"])
async def test_auth_says_who_comes_in_from_anywhere(client: AsyncJobs, asks: str) -> None:
    def allow(request):
        return {"yes": True, "name": "dana", "redirect": RedirectResponse("/login")}.get(request.headers.get("x-as"))

    async def allow_later(request):
        await asyncio.sleep(0)
        return allow(request)

    application = client.dashboard(auth=allow if asks == "def" else allow_later)
    web = Web(application, client="203.0.113.9", base="https://ops.example.com")
    for given, status in (("yes", 200), ("name", 200), ("no", 403), ("redirect", 307)):
        assert (await web.get("/", headers={"x-as": given})).status_code == status, given
    assert (await web.get("/")).status_code == 403
    assert (await web.post("/do/jobs", data={})).status_code == 403


@pytest.mark.parametrize(
    "answer", [None, False, "", 0, 5, (False, "not logged in"), {"error": "forbidden"}, b"x", object()]
)
async def test_an_auth_that_answers_anything_else_lets_nobody_in(client: AsyncJobs, answer: Any) -> None:
    web = Web(client.dashboard(auth=lambda _request: answer), base="https://ops.example.com")
    assert (await web.get("/jobs")).status_code == 403


async def test_an_auth_that_fails_lets_nobody_in_and_says_nothing_of_its_error(
    client: AsyncJobs, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_request):
        raise KeyError("the secret of the session")

    answer = await Web(client.dashboard(auth=broken)).get("/")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "a page of the dashboard failed" in caplog.text


async def test_every_answer_forbids_scripts_frames_and_forms_of_others(web: Web) -> None:
    for path in ("/", "/jobs", "/nothing", "/static/style.css", "/api/jobs", "/confirm"):
        headers = (await web.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'; base-uri 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in headers


async def test_pages_have_no_script_or_style_of_their_own_and_nothing_from_elsewhere(
    web: Web, client: AsyncJobs
) -> None:
    made = await fail().enqueue()
    for path in (
        "/",
        "/queues",
        "/jobs",
        f"/jobs/{made.id}",
        "/failures",
        "/recurring",
        "/batches",
        "/workers",
        "/system",
    ):
        text = (await web.get(path)).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text), path
        assert all(
            source.startswith("/static/") for source in re.findall(r'<(?:script|link)[^>]*(?:src|href)="([^"]*)', text)
        )
        assert not re.search(r'(?:href|src|action)="(?:https?:)?//', text), path


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"},
     {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://["}, {"origin": "http://127.0.0.1:9999"}],
)  # fmt: skip
async def test_a_form_from_another_site_is_refused(web: Web, path: str, headers: dict[str, str]) -> None:
    answer = await web.post(path, data={"token": "x"}, headers=headers)
    assert (answer.status_code, "From another site" in answer.text) == (403, True)


async def test_a_form_without_a_token_of_its_own_is_refused_and_changes_nothing(web: Web) -> None:
    made = await double(1).enqueue()
    good = await web.token(f"/confirm?action=discard&id={made.id}", "/do/jobs")
    other = await web.token("/queues", "/do/queue")
    for token in ("", "x", good[:-1] + ("0" if good[-1] != "0" else "1"), other, "é"):
        answer = await web.post("/do/jobs", data={"token": token, "action": "discard", "id": str(made.id)})
        assert (answer.status_code, "Sent too late" in answer.text) == (403, True), token
    assert (await made.status()).state == "ready"


async def test_a_token_is_good_for_one_person_one_form_and_a_day_in_every_process(
    connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = await looking.read_applied(connection)
    one, other = Tokens(applied), Tokens(applied)
    monkeypatch.setattr(tokens.time, "time", lambda: 1_000_000.0 * 3600)
    token = one.make("dana", "/do/jobs")
    assert other.is_good(token, "dana", "/do/jobs")
    assert not other.is_good(token, "eve", "/do/jobs")
    assert not other.is_good(token, "dana", "/do/queue")
    assert not Tokens([applied[0]._replace(at=applied[0].at.replace(year=2001)), *applied[1:]]).is_good(
        token, "dana", "/do/jobs"
    )
    monkeypatch.setattr(tokens.time, "time", lambda: (1_000_000.0 + 12) * 3600)
    assert other.is_good(token, "dana", "/do/jobs")
    monkeypatch.setattr(tokens.time, "time", lambda: (1_000_000.0 + 24) * 3600)
    assert not other.is_good(token, "dana", "/do/jobs")


WRONG = [
    ("/jobs?page=-1", 400), ("/jobs?limit=1000000000", 400), ("/jobs?limit=-1", 400), ("/jobs?limit=%C2%B2", 400), ("/jobs?limit=1&limit=2", 400),
    ("/jobs?state=<script>alert(1)</script>", 400), ("/jobs?state=failed&state=ready", 400), ("/jobs?before=../../", 400),
    ("/jobs?kind=%00", 400), ("/jobs?kind=" + "x" * 501, 400), ("/jobs?queue=%ff%fe", 400), ("/jobs?error=" + "x" * 10_000, 400),
    ("/jobs?" + "kind=a&" * 300, 400), ("/jobs/../../etc/passwd", 404), ("/jobs/%2e%2e%2f", 404), ("/jobs/00000000-0000-0000-0000-000000000000", 404),
    ("/jobs/<script>alert(1)</script>", 404), ("/static/../application.py", 404), ("/static/%2e%2e%2fapplication.py", 404), ("/static/style.html", 404),
    ("/?span=1y", 400), ("/system?before=99999999999999999999", 400), ("/batches?before=x", 400), ("/confirm", 400),
    ("/confirm?action=drop&state=failed", 400), ("/confirm?action=retry", 400), ("/confirm?action=cancel&state=failed", 400),
    ("/confirm?action=retry&group=nothing", 400),
    ("/confirm?action=retry&group=0123456789", 404), ("/confirm?action=retry&state=failed&back=//evil.example", 400),
    ("/confirm?action=retry&state=failed&back=https://evil.example", 400), ("/api/jobs?limit=0", 400), ("/api/nothing", 404),
    ("/api/jobs?state=%3Cscript%3E", 400), ("/jobs/01900000-0000-7000-8000-000000000001/secrets", 404),
]  # fmt: skip


@pytest.mark.parametrize(("path", "status"), WRONG)
async def test_a_wrong_address_is_refused_and_nothing_of_it_is_repeated(web: Web, path: str, status: int) -> None:
    answer = await web.get(path)
    assert answer.status_code == status
    assert "<script>alert" not in answer.text
    assert "evil" not in answer.text
    assert len(answer.content) < 5_000


async def test_a_wrong_form_is_refused_before_anything_is_done(web: Web) -> None:
    made = await double(1).enqueue()
    token = await web.token(f"/confirm?action=discard&id={made.id}", "/do/jobs")
    good = {"token": token, "action": "discard", "id": str(made.id)}
    form = {"content-type": "application/x-www-form-urlencoded"}
    wrong: list[tuple[dict[str, object], int]] = [
        ({"json": good}, 415), ({"content": b"[" + b'"x",' * 10 + b'"x"]', "headers": {"content-type": "application/json"}}, 415),
        ({"content": b"x"}, 415), ({"content": b"token=" + b"x" * 100_000, "headers": form}, 413),
        ({"content": b"&".join(b"id=%d" % n for n in range(10_000)), "headers": form}, 413),
        ({"content": b"&".join(b"id=x" for _ in range(300)), "headers": form}, 400),
        ({"data": {**good, "action": "drop"}}, 400), ({"data": {**good, "id": "x"}}, 400), ({"data": {**good, "more": "1"}}, 400),
        ({"data": {**good, "back": "//evil.example"}}, 400), ({"data": {**good, "reason": "x" * 2_000}}, 400),
        ({"data": {**good, "reason": "\x00"}}, 400), ({"files": {"id": b"x"}}, 415),
    ]  # fmt: skip
    for given, status in wrong:
        answer = await web.post("/do/jobs", **given)
        assert answer.status_code == status, (given, answer.text[-300:])
    assert (await made.status()).state == "ready"


@job(
    kind="web.charge",
    unique=Unique(by=("account_id",)),
    concurrency=Limit(1, by=("account_id",)),
    searchable=("account_id",),
)
async def charge(account_id: int) -> None: ...


async def test_other_methods_do_nothing(web: Web) -> None:
    for path in ("/", "/jobs", "/api/jobs"):
        assert (await web.head(path)).status_code == 200
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            assert (await web.request(method, path)).status_code == 405, (method, path)
    for path in POSTS:
        for method in ("GET", "HEAD", "PUT", "OPTIONS"):
            assert (await web.request(method, path)).status_code == 405


async def test_a_cookie_of_a_megabyte_is_never_looked_at(web: Web) -> None:
    assert (await web.get("/", headers={"cookie": "a=" + "x" * 1_000_000})).status_code == 200


async def test_arguments_and_attributes_are_shown_as_redact_says(
    client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = await double(4711).enqueue()
    await connection.execute("update asyncjobs.job set progress = '{\"seen\": 4711}' where id = $1", made.id)
    seen = []

    def redact(kind, values):
        seen.append(kind)
        return dict.fromkeys(values, "***")

    web = Web(client.dashboard(redact=redact))
    for path in (
        f"/jobs/{made.id}",
        f"/api/jobs/{made.id}",
        f"/jobs/{made.id}/arguments",
        f"/jobs/{made.id}/attributes",
    ):
        answer = await web.get(path)
        assert answer.status_code == 200
        assert "4711" not in answer.text, path
        assert "***" in answer.text
    assert set(seen) == {"web.double"}


async def test_where_arguments_are_redacted_no_key_tells_them_and_none_is_searched_for(
    jobs: AsyncJobs,
) -> None:
    await (await charge(1).enqueue())
    await jobs.set_limit("web.charge", 0)
    held = await charge(4711).enqueue()
    web = Web(jobs.dashboard(redact=lambda _kind, values: dict.fromkeys(values, "***")))
    for path in (f"/jobs/{held.id}", f"/api/jobs/{held.id}"):
        answer = await web.get(path)
        assert "web.charge(account_id)" in answer.text
        assert "waits at the limit" in answer.text
        assert "4711" not in answer.text, path
    assert 'name="arg"' not in (await web.get("/jobs")).text
    for path in ("/jobs?arg=account_id%3D4711", "/api/jobs?arg=account_id%3D4711"):
        answer = await web.get(path)
        assert answer.status_code == 400
        assert "hides arguments" in answer.text
    shown = await Web(jobs.dashboard()).get(f"/jobs/{held.id}")
    assert "web.charge(account_id) 4711" in shown.text


async def test_where_redact_fails_nothing_is_shown(client: AsyncJobs, caplog: pytest.LogCaptureFixture) -> None:
    made = await double(4711).enqueue()

    def broken(_kind, values):
        raise KeyError(values["number"])

    web = Web(client.dashboard(redact=broken))
    for path in (f"/jobs/{made.id}", f"/jobs/{made.id}/arguments"):
        answer = await web.get(path)
        assert "4711" not in answer.text
        assert "(hidden)" in answer.text
    assert "redact= of the dashboard failed for a web.double" in caplog.text


async def test_what_is_no_function_is_refused_where_it_is_given(client: AsyncJobs) -> None:
    for given in ({"auth": "dana"}, {"redact": 3}, {"read_only": "yes"}):
        with pytest.raises(InvalidOption):
            client.dashboard(**given)


async def test_mounted_under_a_path_and_behind_a_prefix_every_link_leads_back_in(client: AsyncJobs) -> None:
    made = await fail().enqueue()
    outer = FastAPI()
    outer.mount("/admin/jobs", client.dashboard(auth=lambda _request: True))
    for prefix in ("", "/shop"):
        transport = httpx.ASGITransport(app=outer, root_path=prefix)
        async with httpx.AsyncClient(transport=transport, base_url="https://example.com") as browser:
            base = f"{prefix}/admin/jobs"
            for path in ("/", "/queues", "/jobs", f"/jobs/{made.id}", "/workers", "/nothing"):
                text = (await browser.get(f"{base}{path}")).text
                links = re.findall(r'(?:href|src|action|hx-get)="([^"#]+)"', text)
                assert len(links) > 8
                assert all(link.startswith(f"{base}/") for link in links), links
            token = re.search(
                r'name="token" value="(\w+)"', (await browser.get(f"{base}/confirm?action=discard&id={made.id}")).text
            )[1]
            fields = {"token": token, "action": "discard", "id": str(made.id), "back": "/jobs?state=failed"}
            answer = await browser.post(f"{base}/do/jobs", data=fields, headers={"origin": "https://example.com"})
            assert answer.headers["location"].startswith(f"{base}/jobs?state=failed&notice=")


async def test_a_dashboard_whose_client_is_not_open_says_what_to_open() -> None:
    answer = await Web(AsyncJobs(database_url="postgresql://nobody@nowhere/x").dashboard()).get("/")
    assert (answer.status_code, "async with jobs:" in answer.text) == (503, True)


async def test_a_dashboard_serves_its_client_again_when_that_is_opened_again(make_jobs) -> None:
    jobs = make_jobs()
    web = Web(jobs.dashboard())
    for _ in range(2):
        async with jobs:
            assert (await web.get("/")).status_code == 200
        assert (await web.get("/")).status_code == 503
