"""Hostile texts in every column that a page shows."""

from __future__ import annotations

import html.parser
import json

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_jobs import Web, double

from asyncjobs import AsyncJobs
from asyncjobs.web.rendering import as_json, assets, line, pretty

EVIL = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'><svg/onload=alert(1)>", "javascript:alert(1)", "{{ 7*7 }}{% raw %}",
    "</title><script>alert(1)</script>", "</pre></details><form action=//evil>", "\u202egnp.exe", "a\x1b[31mred\x7f", "&lt;script&gt;", "\ud800",
    "-->", "]]>", "${7*7}", "<!--", "x" * 5_000,
]  # fmt: skip
STORED = [text for text in EVIL if text != "\ud800"]
ALLOWED = {"a", "body", "button", "code", "dd", "details", "div", "dl", "dt", "form", "h1", "h2", "h3", "head", "header", "html", "input", "label", "li",
           "link", "main", "meta", "nav", "ol", "option", "p", "path", "pre", "rect", "script", "section", "select", "span", "strong", "summary", "svg",
           "table", "tbody", "td", "th", "thead", "time", "title", "tr", "ul", "wbr"}  # fmt: skip


class Reader(html.parser.HTMLParser):
    """Notes what a browser would run, or load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []
        self.scripts = 0
        self.read: list[str] = []
        """What somebody sees, or is told."""

    def handle_data(self, data: str) -> None:
        self.read.append(data)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag not in ALLOWED:
            self.bad.append(tag)
        self.read += [value or "" for name, value in attributes if name in ("title", "aria-label", "placeholder")]
        for name, value in attributes:
            address = name in ("href", "src", "action", "hx-get")
            if (
                name.startswith("on")
                or name == "style"
                or (address and not (value or "").startswith("/"))
                or (address and (value or "").startswith("//"))
            ):
                self.bad.append(f"{tag} {name}={value}")


def check(text: str) -> None:
    reader = Reader()
    reader.feed(text)
    # The link to the content is the one that leads to a place of the page itself.
    assert [bad for bad in reader.bad if bad != "a href=#main"] == []
    assert reader.scripts == 2
    assert not set("".join(reader.read)) & set("\x1b\x7f\u202e")


async def fill(connection: asyncpg.Connection, evil: str) -> str:
    """Have a text in every column that can hold it; return the id of a live job, and make one that has ended."""
    said = json.dumps({"text": evil, evil: [evil]})
    error = json.dumps(
        {"attempt": 1, "at": "2026-01-01T00:00:00+00:00", "type": evil, "message": evil, "traceback": evil}
    )
    await connection.execute("update asyncjobs.worker set about = $1, report = $2, host = $3", json.dumps(
        {"host": evil, "pid": evil, "version": evil, "pools": [{"queues": [evil], "concurrency": 3}], "kinds": [evil], evil: evil}),
        json.dumps({"stuck": [{"id": evil, "kind": evil, "reason": evil, "since": evil}], "claims_nothing": evil, "draining": evil,
                    "left_out": [{"name": evil, "schedule": evil, "timezone": evil, "why": evil}], "blocked": {evil: {"count": 1, "longest": 2.0}}}),
        evil)  # fmt: skip
    await connection.execute(
        "insert into asyncjobs.worker (id, backend_pid, lease, host, about, report) select gen_random_uuid(), 0, '1 day', host, about, report "
        "from (values ($1, $2, $3)) as w(host, about, report)", evil, json.dumps({"host": evil, "pools": [{"queues": [evil], "concurrency": 3}]}),
        json.dumps({"claims_nothing": evil, "blocked": {evil: {"count": 1, "longest": 2.0}}, "stuck": [{"id": evil, "kind": evil}]}),
    )  # fmt: skip
    batch = await connection.fetchval(
        "insert into asyncjobs.batch (id, description) values (asyncjobs.new_id(), $1) returning id", evil
    )
    job = await connection.fetchval(
        "insert into asyncjobs.job (id, kind, queue, args, errors, progress, cancel_reason, unique_key, unique_until, limit_keys, batch, state, counts) "
        "values (asyncjobs.new_id(), $1, $1, $2::text, $3, $2::text, $1, $4, 0, array[$1], $5, 1, $2) returning id", evil, said, error, evil[:200], batch,
    )  # fmt: skip
    await connection.execute(
        "insert into asyncjobs.step (job, n, attempt, started_at, name, state, event, key, result, cursor, error) "
        "values ($1, 1, 1, now(), $2, 'waiting', $2, $2, $3, $3, $4)", job, evil[:300], said, error,
    )  # fmt: skip
    await connection.execute(
        "insert into asyncjobs.finished (id, fence, enqueued_at, expires_on, attempt, priority, state, crashes, kind, queue, args, result, errors, "
        "reason, progress) values (asyncjobs.new_id(), 1, now(), current_date + 1, 1, 0, 5, 0, $1, $1, $2, $2, $3, $1, $2)", evil, said, error,
    )  # fmt: skip
    await connection.execute(
        "insert into asyncjobs.pause (scope, name, reason, paused_by) values ('queue', $1, $1, $1), ('kind', $1, $1, $1)",
        evil[:500],
    )
    await connection.execute(
        "insert into asyncjobs.recurring (name, kind, queue, schedule, timezone, trouble, seen_until) values ($1, $2, $2, $2, $2, $2, now())",
        evil[:300], evil,
    )  # fmt: skip
    for scope, subject in (("job", str(job)), ("jobs", evil), (evil, evil)):
        await connection.execute(
            "insert into asyncjobs.audit (who, action, scope, subject, detail) values ($1, $1, $2, $3, $1)",
            evil,
            scope,
            subject,
        )
    return str(job)


ALL_IN_ONE = "".join(STORED[:-1])
EACH = [ALL_IN_ONE, *(pytest.param(text, marks=pytest.mark.slow) for text in STORED)]


@pytest.mark.parametrize("evil", EACH, ids=range(len(EACH)))
async def test_a_hostile_text_in_every_column_is_shown_and_never_obeyed(
    web: Web, connection: asyncpg.Connection, evil: str
) -> None:
    job = await fill(connection, evil)
    batch = await connection.fetchval("select id from asyncjobs.batch")
    ended = await connection.fetchval("select id from asyncjobs.finished")
    last = await connection.fetchval("select max(id) from asyncjobs.audit")
    for path in ("/", "/queues", "/jobs", "/jobs?state=failed", "/jobs?state=ready", f"/jobs/{job}", f"/jobs/{ended}", "/failures", "/recurring",
                 "/batches", f"/batches/{batch}", "/workers", "/system", f"/?notice={last}", f"/confirm?action=discard&id={job}"):  # fmt: skip
        answer = await web.get(path)
        assert answer.status_code == 200, (path, answer.text[-500:])
        check(answer.text)
        assert len(answer.content) < 200_000
    for path in (
        "/overview",
        "/queues",
        "/jobs",
        f"/jobs/{job}",
        "/failures",
        "/recurring",
        "/batches",
        "/workers",
        "/system",
    ):
        assert (await web.get(f"/api{path}")).json() is not None


# All that UTF-8 can say; asked for by `codec`, it takes 3 s of a core once to find that out.
sendable = st.characters(exclude_categories=["Cs"])


@given(st.text(sendable, max_size=400))
def test_a_text_is_written_on_one_line_that_ends(text: str) -> None:
    said = line(text, 80)
    assert len(said) <= 80
    assert not set(said) & set("\n\r\x00\x1b\u2028\u202e")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(sendable),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(sendable), inner),
        max_leaves=20,
    )
)
def test_any_value_is_written_as_text_that_can_be_sent(value: object) -> None:
    assert not set(pretty(value)) & set("\x1b\u202e")


async def test_half_a_surrogate_pair_in_json_is_shown_as_what_it_is(web: Web, connection: asyncpg.Connection) -> None:
    made = await double(1).enqueue()
    await connection.execute(
        "update asyncjobs.job set args = $2 where id = $1", made.id, '{"text": "\\ud800", "nul": "\\u0000"}'
    )
    for path in (f"/jobs/{made.id}", f"/api/jobs/{made.id}", f"/jobs/{made.id}/arguments"):
        assert (await web.get(path)).status_code == 200


async def test_rows_written_by_hand_are_shown_all_the_same(
    web: Web, client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = await double(1).enqueue()
    for args, errors, progress, at in (
        ("[]", "no JSON", "3", "infinity"),
        ("null", "{}\n{", "[1]", "-infinity"),
        ("", "", "x", "0044-03-15 BC"),
    ):
        await connection.execute(
            "update asyncjobs.job set args = $2, errors = $3, progress = $4, enqueued_at = $5::text::timestamptz, started_at = $5::text::timestamptz "
            "where id = $1", made.id, args, errors, progress, at,
        )  # fmt: skip
        for path in ("/", "/jobs", f"/jobs/{made.id}", f"/api/jobs/{made.id}"):
            assert (await web.get(path)).status_code == 200, (args, path)


def test_json_has_no_number_that_is_none() -> None:
    assert (
        as_json({"a": [float("inf"), (float("nan"), 1.5)], "b": 2**63})
        == b'{"a": [null, [null, 1.5]], "b": 9223372036854775808}'
    )


def test_the_assets_are_what_was_published_and_have_their_licence() -> None:
    import hashlib
    from pathlib import Path

    import asyncjobs.web

    found = hashlib.sha256(assets()["htmx-4.0.1.min.js"].content).hexdigest()
    assert found == "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
    assert (
        (Path(asyncjobs.web.__file__).parent / "static" / "htmx-4.0.1.LICENSE")
        .read_text()
        .startswith("Zero-Clause BSD")
    )
