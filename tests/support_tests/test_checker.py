import asyncpg
import pytest

from tests.support.checker import Row, check, idle_in_transaction, read_rows
from tests.support.oracle import Event


class History:
    """Builds events, one nanosecond after the other."""

    def __init__(self):
        self.events = []

    def add(self, event, job_id=None, *, attempt=1, pid=1, **fields):
        self.events.append(Event(len(self.events), pid, f"w{pid}", job_id, attempt, event, fields))
        return self

    def enqueued(self, job_id, answer="ok"):
        return self.add("try", job_id, pid=99).add(answer, job_id, pid=99)

    def ran(self, job_id, *, attempt=1, pid=1, how="ok"):
        self.add("start", job_id, attempt=attempt, pid=pid)
        return self.add("end", job_id, attempt=attempt, pid=pid, how=how)


def done(*job_ids, attempt=1):
    return [Row(job_id, finished=True, attempt=attempt) for job_id in job_ids]


def found(history, rows, **options):
    return check(history.events, rows, **options).violations()


def test_a_clean_run_has_nothing_to_show():
    verdict = check(History().enqueued("a").ran("a").events, done("a"), max_attempts=1)
    verdict.assert_clean()
    assert verdict.acknowledged == {"a"}


def test_an_acknowledged_job_without_a_row_is_lost():
    assert found(History().enqueued("a"), []) == {"lost": {"a"}}


def test_an_acknowledged_job_that_is_live_at_the_end_is_stuck():
    assert found(History().enqueued("a"), [Row("a", finished=False, attempt=0)]) == {"stuck": {"a"}}


def test_two_rows_of_one_job_are_a_duplicate():
    rows = [*done("a"), Row("a", finished=False, attempt=0)]
    assert found(History().enqueued("a").ran("a"), rows) == {"duplicated": {"a"}}


def test_a_run_that_nobody_asked_for_is_unexpected():
    assert found(History().enqueued("a").ran("a").ran("b"), done("a")) == {"unexpected": {"b"}}


def test_a_finished_job_that_never_ran_is_found():
    assert found(History().enqueued("a"), done("a")) == {"unrun": {"a"}}


def test_unknown_outcomes_are_sorted_into_recovered_and_vanished():
    history = (
        History().enqueued("a", "unknown").enqueued("b", "unknown").enqueued("c", "unknown").enqueued("c").ran("a")
    )
    verdict = check(history.ran("c").events, done("a", "c"))
    verdict.assert_clean()
    assert (verdict.recovered, verdict.vanished) == ({"a"}, {"b"})


def test_runs_at_the_same_time_are_an_overlap_unless_one_was_frozen():
    history = History().enqueued("a").add("start", "a").add("start", "a", attempt=2, pid=2)
    history.add("end", "a", attempt=2, pid=2, how="ok").add("end", "a", how="LeaseLost")
    assert list(found(history, done("a", attempt=2))) == ["overlaps"]
    assert found(history, done("a", attempt=2), zombies={1}) == {}
    frozen = History().enqueued("a").add("start", "a").add("frozen", pid=99, of=1)
    frozen.ran("a", attempt=2, pid=2).add("end", "a", how="CancelledError")
    verdict = check(frozen.events, done("a", attempt=2))
    verdict.assert_clean()
    assert len(verdict.zombie_overlaps) == 1


def test_a_crash_after_the_work_and_before_the_commit_is_a_repetition_not_a_violation():
    history = History().enqueued("a").ran("a").add("killed", pid=99, of=1).ran("a", attempt=2, pid=2)
    verdict = check(history.events, done("a", attempt=2))
    verdict.assert_clean()
    assert verdict.repeated == {"a"}


def test_running_again_under_the_same_attempt_is_a_violation():
    assert found(History().enqueued("a").ran("a").ran("a", pid=2), done("a")) == {"rerun": {"a"}}


def test_an_interrupted_run_may_go_on_under_the_same_attempt():
    history = History().enqueued("a").ran("a", how="CancelledError").ran("a", pid=2)
    assert found(history, done("a"), max_attempts=1) == {}


def test_too_many_attempts_are_found():
    assert found(History().enqueued("a").ran("a"), done("a", attempt=4), max_attempts=3) == {"attempts_exceeded": {"a"}}


def test_a_step_that_runs_after_its_commit_is_found():
    history = History().enqueued("a").add("start", "a").add("step_start", "a", step="one")
    history.add("step_start", "a", step="one").add("step_committed", "a", step="one")
    history.add("step_start", "a", step="two").add("end", "a", how="ok")
    assert found(history, done("a")) == {}
    history.add("step_start", "a", step="one")
    assert found(history, done("a")) == {"steps_rerun": [("a", "one")]}


def test_the_message_counts_and_names_what_was_found():
    verdict = check(History().enqueued("a").events, [])
    with pytest.raises(AssertionError, match=r"lost \(1\): \['a'\]"):
        verdict.assert_clean()
    verdict.assert_clean(allow={"lost"})


@pytest.fixture
def empty_url(databases):
    """The URL of a database without a schema."""
    with databases.one("checker", "template template0") as url:
        yield url


async def test_rows_are_read_from_both_tables(empty_url):
    connection = await asyncpg.connect(empty_url)
    other = await asyncpg.connect(empty_url, server_settings={"application_name": "sleeper"})
    try:
        await connection.execute(
            "create schema asyncjobs; create table asyncjobs.job (id text, attempt smallint);"
            "create table asyncjobs.finished (like asyncjobs.job);"
            "insert into asyncjobs.job values ('a', 0); insert into asyncjobs.finished values ('b', 2)"
        )
        assert sorted(await read_rows(connection)) == [Row("a", False, 0), Row("b", True, 2)]
        assert await idle_in_transaction(connection) == []
        transaction = other.transaction()
        await transaction.start()
        assert await idle_in_transaction(connection) == ["sleeper"]
        await transaction.rollback()
    finally:
        await connection.close()
        await other.close()
