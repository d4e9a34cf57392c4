"""Tags, meta and searchable arguments: kept with a job wherever it goes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from asyncjobs import (
    AlreadyEnqueued,
    AsyncJobs,
    Batch,
    InvalidDefinition,
    InvalidOption,
    Job,
    Limit,
    Snooze,
    Unique,
    chain,
    current_attempt,
    current_job,
    enqueue_all,
    job,
)
from asyncjobs.definitions.labels import searchable_of
from asyncjobs.exceptions import DatabaseUnavailable, JobFailed
from asyncjobs.values import codec

META = {"source": "api", "empty": "", 'odd "key"': 'a\\b "c", {d}=e'}
TAGS = ("import", 'customer "7"', "a,b {c}\\")
SEEN: list[tuple[dict[str, str], tuple[str, ...]]] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


@job(kind="labels.note", searchable=("user_id", "code"))
async def note(user_id: int = 0, code: str = "", broken: bool = False) -> int:
    me = current_attempt()
    SEEN.append((me.meta, me.tags))
    if broken:
        raise ValueError("broken")
    return user_id


@job(kind="labels.limited", concurrency=Limit(5), unique=Unique(on_conflict="replace"))
async def limited() -> None:
    SEEN.append((current_attempt().meta, current_attempt().tags))


@job(kind="labels.thread")
def in_thread() -> list[Any]:
    return [current_attempt().meta, list(current_attempt().tags)]


@job(kind="labels.process", executor="process")
def in_process() -> list[Any]:
    return [current_attempt().meta, list(current_attempt().tags)]


@job(kind="labels.parent")
async def parent() -> None:
    await current_job().run("children", note(1).set(tags=("child",)))
    current_job().then(note(2).set(tags=("then",)))


@job(kind="labels.snoozing")
async def snoozing() -> list[str]:
    if current_attempt().job.state == "running" and not SEEN:
        SEEN.append((current_attempt().meta, current_attempt().tags))
        raise Snooze(0)
    return list(current_attempt().tags)


class Report(Job, kind="labels.Report", searchable=("day",)):
    day: str = "monday"
    tags: str = "a field of this name is the user's own"

    async def perform(self) -> list[str]:
        return list(current_attempt().tags)


def labelled(made: Any) -> Any:
    return made.set(meta=META, tags=TAGS)


async def test_a_job_has_them_while_it_runs_and_when_it_has_ended(jobs: AsyncJobs) -> None:
    made = await labelled(note(7)).enqueue()
    assert await made == 7
    assert SEEN == [(META, TAGS)]
    status = await made.status()
    assert (status.meta, status.tags) == (META, TAGS)


async def test_a_job_without_any_has_none(jobs: AsyncJobs) -> None:
    assert await (made := await note().enqueue()) == 0
    assert SEEN == [({}, ())]
    assert ((await made.status()).meta, (await made.status()).tags) == ({}, ())


@pytest.mark.parametrize("made", [in_thread, in_process], ids=["thread", "process"])
async def test_code_in_a_thread_and_in_a_process_of_its_own_sees_them(jobs: AsyncJobs, made: Any) -> None:
    assert await (await labelled(made()).enqueue()) == [META, list(TAGS)]


async def test_a_field_called_tags_is_a_field_and_a_later_set_replaces_all_of_them(jobs: AsyncJobs) -> None:
    made = Report(tags="mine").set(tags=("a", "b"), meta={"x": "1"}).set(tags=("c",), queue="low").set(queue="default")
    assert await (await made.enqueue()) == ["c"]
    status = await made.status()
    assert (status.tags, status.meta, status.arguments["tags"]) == (("c",), {"x": "1"}, "mine")
    assert await (await Report().set(tags=("a",)).set(tags=()).enqueue()) == []


async def test_perform_now_knows_them() -> None:
    await labelled(note()).perform_now()
    assert SEEN == [(META, TAGS)]


class TestWhateverEnqueues:
    async def test_many_at_once(self, jobs: AsyncJobs) -> None:
        made = [labelled(note(n)) if n % 2 else note(n) for n in range(250)]
        assert await enqueue_all(made) == 250
        assert [await one for one in made] == list(range(250))
        assert sorted(len(tags) for _, tags in SEEN) == [0] * 125 + [3] * 125

    async def test_some_with_limits_among_them(self, jobs: AsyncJobs) -> None:
        made = [labelled(limited()), labelled(note())]
        await enqueue_all(made)
        for one in made:
            await one
        assert SEEN == [(META, TAGS)] * 2

    async def test_a_chain_a_batch_and_its_callbacks(self, jobs: AsyncJobs) -> None:
        assert await (await chain(labelled(note(1)), note(2), labelled(note(3))).enqueue()) == 3
        batch = Batch("b", on_success=(last := labelled(note(5))))
        batch.add(labelled(note(4)))
        await batch.enqueue()
        await batch
        await last
        assert [len(tags) for _, tags in SEEN] == [3, 0, 3, 3, 3]

    async def test_children_and_what_follows_have_their_own(self, client: AsyncJobs, jobs: AsyncJobs) -> None:
        await (made := await labelled(parent()).enqueue())
        assert (await made.status()).tags == TAGS
        [child] = await jobs.find(tag="child")
        assert (child.tags, child.meta) == (("child",), {})
        [after] = await jobs.find(tag="then")
        assert after.kind == "labels.note"

    @pytest.mark.parametrize("made", [note, limited])
    async def test_in_the_callers_transaction(
        self, client: AsyncJobs, connection: asyncpg.Connection, made: Any
    ) -> None:
        async with connection.transaction():
            new = await labelled(made()).enqueue(connection=connection)
            await new.enqueue(connection=connection)
        assert (await new.status()).tags == TAGS

    async def test_a_job_that_was_sent_before_is_one_job(self, client: AsyncJobs) -> None:
        made = labelled(note())
        made._sent = True
        await made.enqueue()
        await made.enqueue()
        assert await client.count(tag=TAGS) == 1

    async def test_where_nobody_can_see_whether_one_that_was_sent_before_has_run_it_is_refused(
        self, client: AsyncJobs, connection: asyncpg.Connection
    ) -> None:
        made = labelled(note())
        made._sent = True
        by_sql = f"select asyncjobs.enqueue('labels.note', id => '{made.id}', tags => array['a'])"
        for enqueue in (lambda: made.enqueue(connection=connection), lambda: connection.execute(by_sql)):
            with pytest.raises(
                (DatabaseUnavailable, asyncpg.SerializationError), match="was enqueued before or is your own"
            ):
                async with connection.transaction(isolation="repeatable_read"):
                    await enqueue()
        assert await client.count() == 0

    async def test_one_that_replaces_another_brings_its_own(self, client: AsyncJobs) -> None:
        await (first := limited().set(tags=("old",), wait=60)).enqueue()
        await (second := limited().set(tags=("new",), wait=60)).enqueue()
        assert second.disposition == "replaced"
        assert (await first.status()).tags == ("new",)

    async def test_what_recurs(self, jobs: AsyncJobs) -> None:
        await jobs.recurring.add("nightly", labelled(note(8)), schedule="0 3 * * *")
        made = await jobs.get(await jobs.recurring.run("nightly"), note)
        assert await made == 8
        assert SEEN == [(META, TAGS)]
        assert [one.id for one in await jobs.find(kind=note, arguments={"user_id": 8})] == [made.id]

    async def test_sql(self, jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
        made: UUID = await connection.fetchval(
            """select asyncjobs.enqueue('labels.note', args => '{"user_id": 42, "code": "a\\u00e9\\"", "broken": false}',
               meta => '{"source": "psql"}', tags => array['b', 'a', 'a'], searchable => array['user_id', 'code', 'none'])"""
        )
        assert await jobs.result(made) == 42
        assert SEEN == [({"source": "psql"}, ("a", "b"))]
        found = await jobs.find(kind=note, arguments={"user_id": 42, "code": 'aé"'})
        assert [one.id for one in found] == [made]


class TestWhateverMovesIt:
    async def test_a_retry_by_hand_and_a_snooze_keep_them(self, jobs: AsyncJobs) -> None:
        made = await labelled(note(9, broken=True)).enqueue()
        for _ in range(2):
            with pytest.raises(JobFailed):
                await made
            assert await jobs.count(kind=note, tag=TAGS, meta=META, arguments={"user_id": 9}) == 1
            await jobs.retry(made)
        assert [meta for meta, _ in SEEN][:2] == [META, META]
        SEEN.clear()
        assert await (await labelled(snoozing()).enqueue()) == list(TAGS)

    async def test_cancelled_and_discarded_ones_keep_them(self, client: AsyncJobs) -> None:
        one, other = await labelled(note(1)).enqueue(), await labelled(note(2)).enqueue()
        await one.cancel()
        await client.discard(other)
        assert {found.state for found in await client.find(tag=TAGS[0])} == {"cancelled", "discarded"}


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"tags": "import"}, r"tags='import' is a string: give a tuple, such as tags=\('import',\)"),
            ({"tags": 5}, "tags=5 is no tuple of tags"),
            ({"tags": {"a": "b"}}, "is no tuple of tags"),
            ({"tags": (5,)}, r"tags: 5 is no string: give such as tags=\('5',\)"),
            ({"tags": ("",)}, "a tag has 0 characters, and has 1 to 100"),
            ({"tags": ("x" * 101,)}, "a tag has 101 characters, and has 1 to 100: give a short name"),
            ({"tags": ("a\x00",)}, "a tag has a NUL"),
            ({"tags": [f"t{n}" for n in range(21)]}, "tags has 21 tags, and a job has at most 20"),
            ({"meta": [("a", "b")]}, "meta=.* is no dict of strings"),
            ({"meta": {"a": 5}}, r"meta\['a'\]=5 is no string, and meta holds strings: give '5'"),
            ({"meta": {5: "a"}}, "the key 5 is no string: give '5'"),
            ({"meta": {"a=b": "c"}}, "the key 'a=b' has a =: leave it out"),
            ({"meta": {"": "c"}}, "a key has 0 characters"),
            ({"meta": {"k" * 101: "c"}}, "a key has 101 characters, and has 1 to 100"),
            ({"meta": {"k": "v" * 501}}, r"meta\['k'\] has 501 characters, and has 0 to 500: store what is long elsewhere"),
            ({"meta": {"k": "\ud800"}}, "half of a surrogate pair"),
            ({"meta": {str(n): "" for n in range(21)}}, "meta has 21 entries, and a job has at most 20"),
        ],
    )  # fmt: skip
    async def test_set_names_the_value_its_limit_and_the_remedy(self, given: dict[str, Any], says: str) -> None:
        made = note()
        with pytest.raises(InvalidOption, match=says):
            made.set(**given)
        made._made_at = None

    async def test_set_after_enqueue(self, client: AsyncJobs) -> None:
        made = await note().enqueue()
        with pytest.raises(AlreadyEnqueued):
            made.set(tags=("late",))

    def test_searchable_names_an_argument(self) -> None:
        with pytest.raises(
            InvalidDefinition, match="searchable has 'user', which is no argument: its arguments are user_id"
        ):

            @job(kind="labels.wrong", searchable=("user",))
            async def wrong(user_id: int) -> None: ...

        with pytest.raises(InvalidDefinition, match="searchable has 'id', which is no argument: it has none"):

            class Wrong(Job, kind="labels.Wrong", searchable=("id",)):
                async def perform(self) -> None: ...

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ("tags => array['']", "a tag has 1 to 100 characters, and  has not"),
            ("tags => array[null]", "a tag has 1 to 100 characters, and null has not"),
            ("tags => array[repeat('x', 101)]", "a tag has 1 to 100"),
            ("tags => array(select 'a' || n from generate_series(1, 21) as n)", "at most 20 tags"),
            ("meta => '[]'", "meta must be a JSON object of texts, not array"),
            ("""meta => '{"a": 5}'""", "meta a: a key has 1 to 100 characters"),
            ("""meta => '{"a=b": "c"}'""", "meta a=b: a key has 1 to 100 characters and no ="),
            ("""meta => jsonb_build_object('a', repeat('x', 501))""", "a value is a text of at most 500"),
        ],
    )
    async def test_sql_says_it_too(self, connection: asyncpg.Connection, arguments: str, says: str) -> None:
        with pytest.raises(asyncpg.InvalidParameterValueError, match=says):
            await connection.execute(f"select asyncjobs.enqueue('labels.note', {arguments})")

    @pytest.mark.parametrize(
        "labels",
        ["array['x']", "array['t:']", "array['m:a']", "array[null]", "array['t:' || repeat('x', 101)]",
         "array['m:a=' || repeat('x', 601)]", "array(select 't:' || n from generate_series(1, 51) as n)"],
    )  # fmt: skip
    async def test_what_would_not_fit_into_the_index_does_not_get_there(
        self, connection: asyncpg.Connection, labels: str
    ) -> None:
        with pytest.raises(asyncpg.InvalidParameterValueError):
            await connection.execute(f"select asyncjobs.check_labels({labels}, null)")

    async def test_the_longest_that_is_allowed_fits_into_the_index(self, client: AsyncJobs) -> None:
        long = note(code="\U0001f600" * 300).set(
            tags=["\U0001f600" * 99 + chr(n) for n in range(65, 85)],
            meta={"\U0001f600" * 99 + chr(n): "\U0001f600" * 500 for n in range(65, 85)},
        )
        await enqueue_all([long])
        assert [one.id for one in await client.find(kind=note, arguments={"code": "\U0001f600" * 300})] == [long.id]
        assert len((await long.status()).meta) == 20


async def test_a_long_argument_is_found_by_all_of_it_and_sql_stores_the_same(connection: asyncpg.Connection) -> None:
    for value in ("x" * 1_000, "x" * 999 + "y", "é\n\"'\\\x1b/", 42, -1.5, True, None, ["a", 1]):
        text = searchable_of("code", value)
        assert len(text) <= 256
        sql = await connection.fetchval(
            "select asyncjobs.searchable(json_build_object('code', $1::text::json), array['code'])", codec.dumps(value)
        )
        assert sql == [text]


async def test_labels_written_by_hand_stop_nobody(jobs: AsyncJobs, connection: asyncpg.Connection) -> None:
    made = note().set(wait=60)
    await made.enqueue()
    await connection.execute(
        "update asyncjobs.job set labels = array['x', null, 'm:k', 't:a'], state = 1, run_at = now() where id = $1",
        made.id,
    )
    await connection.execute("select pg_notify('asyncjobs_ready', '1 default')")
    assert await made == 0
    assert SEEN == [({"k": ""}, ("a",))]


async def test_what_was_snoozed_by_perform_now_keeps_them(jobs: AsyncJobs) -> None:
    assert await labelled(snoozing()).perform_now() == list(TAGS)
