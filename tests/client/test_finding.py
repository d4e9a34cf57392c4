"""`find` and `count`: jobs by state, kind, queue, tag, meta, argument and error, a page at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from asyncjobs import AsyncJobs, Batch, InvalidArguments, InvalidOption, Job, PermissionDenied, enqueue_all, job
from asyncjobs.client import finding
from asyncjobs.db.why import read_serving
from asyncjobs.exceptions import DatabaseUnavailable, JobFailed
from tests.support.roles import apply_roles


class Colour(Enum):
    red = "r"


@job(kind="finding.send", aliases=("finding.former",), searchable=("user_id", "colour", "at", "ref"))
async def send(
    user_id: int, colour: Colour = Colour.red, at: datetime | None = None, ref: UUID | None = None, note: str = ""
) -> None:
    if note:
        raise ConnectionError(note)


@job(kind="finding.plain", queue="low")
async def plain(user_id: int, items: list[int] | None = None, nested: dict[str, Any] | None = None) -> None: ...


class Import(Job, kind="finding.Import"):
    path: str = "/"

    async def perform(self) -> None: ...


async def found(jobs: AsyncJobs, **sought: Any) -> list[UUID]:
    """The ids; `count` agrees."""
    page = await jobs.find(**sought)
    assert await jobs.count(**sought) == len(page)
    return [one.id for one in page]


async def failed(*made: Job[Any]) -> None:
    await enqueue_all(made)
    for one in made:
        with pytest.raises(JobFailed):
            await one


class TestFilters:
    async def test_without_any_all_are_there_newest_first(self, client: AsyncJobs) -> None:
        made = [await send(n).enqueue() for n in range(3)]
        assert await found(client) == [one.id for one in made[::-1]]

    async def test_by_what_a_job_is(self, client: AsyncJobs) -> None:
        one = await send(1).enqueue()
        two = await plain(2).set(wait=60).enqueue()
        three = await Import().set(queue="low").enqueue()
        await three.cancel("no")
        assert await found(client, kind=send) == await found(client, kind="finding.send") == [one.id]
        assert await found(client, kind=Import) == [three.id]
        assert await found(client, queue="low") == [three.id, two.id]
        assert await found(client, state="scheduled") == [two.id]
        assert await found(client, state=["cancelled", "ready"]) == [three.id, one.id]
        assert await found(client, state=("failed", "cancelled"), queue="low", kind=Import) == [three.id]
        assert await found(client, state="failed") == []
        [shown] = await client.find(kind=Import)
        assert (shown.state, shown.reason, shown.queue, shown.error) == ("cancelled", "no", "low", None)
        assert shown.finished_at is not None

    async def test_a_definition_is_found_under_its_former_kinds_too(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        former = await connection.fetchval("select asyncjobs.enqueue('finding.former', args => '{\"user_id\": 1}')")
        today = (await send(2).enqueue()).id
        assert await found(client, kind=send) == await found(client, kind="finding.send") == [today, former]
        assert await found(client, kind="finding.former") == [former]

    @pytest.mark.usefixtures("jobs")
    async def test_a_worker_tells_commands_of_former_kinds(self, connection: asyncpg.Connection) -> None:
        await (await plain(1).enqueue())  # the worker has begun
        [worker] = await read_serving(connection)
        assert worker.aliases["finding.send"] == ("finding.former",)

    async def test_by_tags_and_meta_all_of_which_must_be_there(self, client: AsyncJobs) -> None:
        one = await send(1).set(tags=("a", "b"), meta={"x": "1"}).enqueue()
        two = await plain(1).set(tags=("b",), meta={"x": "1", "y": "2"}).enqueue()
        assert await found(client, tag="b") == [two.id, one.id]
        assert await found(client, tag=("a", "b")) == [one.id]
        assert await found(client, meta={"x": "1"}, tag="b", state="ready") == [two.id, one.id]
        assert await found(client, meta={"x": "1", "y": "2"}) == [two.id]
        assert await found(client, tag="a", kind=plain) == []
        assert await found(client, tag="m:x=1") == await found(client, meta={"x": "2"}) == []

    async def test_by_searchable_arguments(self, client: AsyncJobs) -> None:
        at, ref = datetime(2026, 5, 1, 12, tzinfo=UTC), uuid4()
        one = await send(1, Colour.red, at, ref).enqueue()
        two = await send(2, note="x").enqueue()
        for sought in ({"user_id": 1}, {"at": at}, {"ref": ref}, {"user_id": 1, "colour": Colour.red}):
            assert await found(client, kind=send, arguments=sought) == [one.id], sought
        assert await found(client, arguments={"user_id": 2}) == [two.id]
        assert await found(client, arguments={"colour": "r"}) == [two.id, one.id]
        assert await found(client, kind=send, arguments={"user_id": 2, "note": "x"}) == [two.id]
        assert await found(client, kind=send, arguments={"user_id": 1, "note": "x"}) == []
        assert await found(client, arguments={"user_id": "2"}) == []

    async def test_by_arguments_that_are_in_no_index(self, client: AsyncJobs) -> None:
        one = await plain(1, [1, 2], {"b": 1, "a": None}).enqueue()
        await plain(2, [2]).enqueue()
        for sought in ({"user_id": 1}, {"items": [1, 2]}, {"nested": {"a": None, "b": 1}}):
            assert await found(client, kind=plain, arguments=sought) == [one.id], sought
        assert await found(client, arguments={"user_id": 1}) == [one.id]  # no kind has it in the index

    async def test_of_a_kind_that_is_not_known_here_arguments_are_compared_if_the_index_has_none(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        plainly = await connection.fetchval("select asyncjobs.enqueue('other.plain', args => '{\"n\": 1}')")
        indexed = await connection.fetchval(
            "select asyncjobs.enqueue('other.indexed', args => '{\"n\": 1}', searchable => array['n'])"
        )
        assert await found(client, kind="other.plain", arguments={"n": 1}) == [plainly]
        assert await found(client, kind="other.indexed", arguments={"n": 1}) == [indexed]
        assert await found(client, arguments={"n": 1}) == [indexed]

    async def test_by_the_last_error(self, jobs: AsyncJobs) -> None:
        one, two = send(1, note="the host is gone"), send(2, note="reset by peer 100%")
        await failed(one, two)
        assert await found(jobs, error="ConnectionError") == [two.id, one.id]
        assert await found(jobs, error="100%", state="failed", kind=send) == [two.id]
        assert await found(jobs, error="Connection") == []
        [shown] = await jobs.find(error="gone")
        assert shown.error is not None
        assert (shown.error.message, shown.attempt) == ("the host is gone", 1)

    async def test_by_age(self, client: AsyncJobs) -> None:
        await send(1).enqueue()
        assert await found(client, older_than=60) == []
        assert len(await found(client, older_than=0)) == 1

    async def test_quotes_and_backslashes_are_what_they_are(self, client: AsyncJobs) -> None:
        odd = '\'; drop table "asyncjobs".job; -- \\ {,} %s %L $1'
        made = await Import(path=odd).set(tags=(odd,), meta={odd.replace("=", ""): odd}).enqueue()
        assert await found(client, tag=odd, meta={odd: odd}, kind=Import, arguments={"path": odd}) == [made.id]


class TestPages:
    async def test_they_follow_each_other_and_miss_none(self, client: AsyncJobs) -> None:
        made = [send(n % 2).set(tags=("t",)) for n in range(25)]
        await enqueue_all(made)
        for sought in ({}, {"tag": "t"}, {"kind": send, "arguments": {"user_id": 0}}):
            seen: list[UUID] = []
            after = None
            while page := await client.find(limit=7, after=after, **sought):
                assert len(page) <= 7
                seen += [one.id for one in page]
                after = page[-1].id
            assert (
                seen
                == sorted({one.id for one in made if not sought.get("arguments") or one.arguments["user_id"] == 0})[
                    ::-1
                ]
            )

    async def test_those_with_another_last_error_do_not_shorten_them(self, jobs: AsyncJobs) -> None:
        made = [send(n, note="odd" if n % 2 else "even, not odder") for n in range(8)]
        await failed(*made)
        wanted = [one.id for one in made if one.arguments["note"] == "odd"][::-1]
        assert [one.id for one in await jobs.find(error="odd", limit=8)] == [one.id for one in made[::-1]]
        page = await jobs.find(error="even", limit=3)
        assert {one.error and one.error.message for one in page} == {"even, not odder"}
        assert len(page) == 3
        assert len(wanted) == 4

    async def test_a_label_of_very_many_is_found_by_a_walk(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        await connection.execute(
            "insert into asyncjobs.job (id, kind, labels) select asyncjobs.new_id(), 'k', array['t:many'] "
            "from generate_series(1, 10020)"
        )
        page = await client.find(tag="many", limit=5)
        assert [one.id for one in page] == sorted((one.id for one in page), reverse=True)
        newest = await connection.fetchval("select id from asyncjobs.job order by id desc limit 1")
        assert page[0].id == newest
        assert await client.count(tag="many") == 10_020
        assert await client.count(tag="many", most=100) == 100


class TestActions:
    async def test_on_all_with_a_tag_or_an_argument(self, jobs: AsyncJobs) -> None:
        made = [send(n, note="broken").set(tags=("t",) if n else ()) for n in range(3)]
        await failed(*made)
        assert await jobs.retry_all(dry_run=True, tag="t") == 2
        assert await jobs.discard_all(tag="t", arguments={"user_id": 1}) == 1
        assert await jobs.discard_all(kind=send, arguments={"user_id": 5}) == 0
        assert [one.id for one in await jobs.find(state="discarded")] == [made[1].id]
        assert await jobs.discard_all(kind=send, state="failed", meta={"a": "b"}) == 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("sought", "error", "says"),
        [
            ({"state": "broken"}, InvalidOption, "state='broken' is no state: use scheduled, ready"),
            ({"state": []}, InvalidOption, "state names no state"),
            ({"kind": 5}, InvalidOption, "kind=5 is no job definition"),
            ({"tag": ""}, InvalidOption, "tag: a tag has 0 characters"),
            ({"tag": 5}, InvalidOption, "tag=5 is no tuple of tags"),
            ({"meta": {"a": 1}}, InvalidOption, "meta holds strings: give '1'"),
            (
                {"arguments": ["a"]},
                InvalidOption,
                'is no dict of values by name: give such as arguments={"user_id": 42}',
            ),
            ({"error": "\0"}, InvalidOption, r"error='\\x00' holds a character that cannot be stored"),
            ({"arguments": {"a\0": 1}}, InvalidOption, "holds a NUL or half of a surrogate pair"),
            ({"arguments": {"a": ["\0"]}}, InvalidOption, "holds a NUL or half of a surrogate pair"),
            ({"arguments": {"a": object()}}, InvalidOption, r"arguments\['a'\]=.* has no form in JSON"),
            (
                {"arguments": {"user": 1}, "kind": send},
                InvalidOption,
                "'user' is no argument of finding.send: its arguments",
            ),
            ({"arguments": {"user_id": "x"}, "kind": send}, InvalidArguments, "user_id"),
            ({"limit": 0}, InvalidOption, "limit"),
            ({"limit": 1001}, InvalidOption, "limit"),
            ({"after": "x"}, InvalidOption, "x"),
            (
                {"status": "failed"},
                InvalidOption,
                "no option 'status': write state=…; there are state, kind, queue, tag",
            ),
            ({"tags": ("nightly",)}, InvalidOption, "a filter of jobs has no option 'tags': write tag=…; there are"),
            ({"args": {}}, InvalidOption, "has no option 'args': write arguments=…; there are"),
        ],
    )
    async def test_each_says_what_to_write(
        self, client: AsyncJobs, sought: Any, error: type[Exception], says: str
    ) -> None:
        with pytest.raises(error, match=says):
            await client.find(**sought)

    async def test_a_search_that_takes_too_long_names_the_remedy(
        self, client: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await connection.execute(
            "insert into asyncjobs.job (id, kind, args) select asyncjobs.new_id(), 'finding.plain', '{\"user_id\": 1}' "
            "from generate_series(1, 20000)"
        )
        monkeypatch.setattr(finding, "TIMEOUT", 0.001)
        with pytest.raises(
            DatabaseUnavailable, match=r"declare searchable=\('user_id',\) in the kind, for jobs enqueued"
        ):
            await client.count(kind=plain, arguments={"user_id": 1})
        with pytest.raises(DatabaseUnavailable, match="the search took too long: narrow it by state=, queue= or tag="):
            await client.count(kind=plain)
        monkeypatch.undo()
        assert await client.count(kind=plain) == 20_000


class TestRoles:
    async def test_a_viewer_searches_by_anything_but_arguments(
        self, database_url: str, make_jobs: Callable[..., AsyncJobs]
    ) -> None:
        as_role = await apply_roles(database_url)
        async with make_jobs(database_url=as_role["runner"]) as worker:
            made = await send(1).set(tags=("t",), meta={"a": "b"}).enqueue()
            assert await found(worker, arguments={"user_id": 1}) == [made.id]
        async with make_jobs(database_url=as_role["looker"]) as viewer:
            assert await found(viewer, tag="t", meta={"a": "b"}, kind=send, state="ready") == [made.id]
            assert (await viewer.status(made.id)).tags == ("t",)
            assert await viewer.retry_all(tag="t", dry_run=True) == 0
            for sought in ({"user_id": 1}, {"user_id": 1, "note": ""}, {"note": ""}):
                for asking in (viewer.find, viewer.count):
                    with pytest.raises(PermissionDenied, match="may not read arguments, and so not search by them"):
                        await asking(kind=send, arguments=sought)
        async with make_jobs(database_url=as_role["web"]) as enqueuer:
            many = [send(n).set(tags=("many",)) for n in range(120)]
            await enqueue_all(many)
            await send(5).set(tags=("one",)).enqueue()
            batch = Batch("b")
            batch.add(send(6).set(tags=("one",)))
            await batch.enqueue()
            assert (await many[7].status()).tags == ("many",)
            with pytest.raises(PermissionDenied, match="asyncjobs_viewer"):
                await enqueuer.find(tag="many")
        async with make_jobs(database_url=as_role["runner"]) as worker:
            assert await worker.count(tag="many") == 120
            assert await worker.count(tag="one") == 2


def test_from_a_program_without_a_loop(make_jobs: Callable[..., AsyncJobs], url: str) -> None:
    with make_jobs().blocking() as jobs:
        made = jobs.enqueue(send(3).set(tags=("blocking",)))
        assert [one.id for one in jobs.find(tag="blocking", kind=send)] == [made.id]
        assert jobs.count(tag="blocking") == 1
