"""A job as a value, before anything is in a database."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from asyncjobs import InvalidArguments, InvalidOption, Job, job
from asyncjobs.client.job_rows import row_of
from asyncjobs.definitions.ids import new_id


@job(kind="values.send", queue="mailers", priority=3)
async def send(user_id: int, template: str = "hello") -> str:
    return f"{template} {user_id}"


class Cloud(Job, kind="values.Cloud"):
    cloud_id: int
    tags: list[str] = []

    async def perform(self) -> int:
        return self.cloud_id


class TestIdentity:
    def test_equality_and_hash_are_identity(self) -> None:
        first, second = send(1), send(1)
        assert first != second
        assert first == first  # noqa: PLR0124
        assert len({first, second, first}) == 2
        assert Cloud(cloud_id=1) != Cloud(cloud_id=1)

    def test_an_id_is_a_uuid7_known_at_once_and_never_changes(self) -> None:
        before = time.time_ns() // 1_000_000
        made = send(1)
        assert made.id == made.id
        assert (made.id.version, made.id.variant) == (7, "specified in RFC 4122")
        assert before <= made.id.int >> 80 <= time.time_ns() // 1_000_000

    def test_an_id_cannot_be_assigned(self) -> None:
        with pytest.raises(AttributeError):
            send(1).id = new_id()

    def test_a_hundred_thousand_ids_are_different(self) -> None:
        assert len({new_id() for _ in range(100_000)}) == 100_000


class TestArguments:
    def test_they_are_bound_with_their_defaults(self) -> None:
        assert send(42).arguments == {"user_id": 42, "template": "hello"}
        assert send(template="bye", user_id=1).arguments == {"user_id": 1, "template": "bye"}

    def test_the_dict_of_them_is_a_copy(self) -> None:
        made = send(42)
        made.arguments["user_id"] = 7
        assert made.arguments["user_id"] == 42

    @pytest.mark.parametrize(
        ("args", "kwargs", "field"),
        [
            ((), {}, "user_id"),
            (("x",), {}, "user_id"),
            ((1,), {"template": 5}, "template"),
            ((1,), {"more": 5}, "more"),
            ((1,), {"user_id": 5}, "user_id"),
            ((1, "a", "b"), {}, "arguments"),
        ],
    )
    def test_what_does_not_fit_the_signature_is_refused_at_the_call_and_named(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidArguments) as raised:
            send(*args, **kwargs)
        assert raised.value.kind == "values.send"
        assert field in [name for name, _ in raised.value.problems]

    def test_assigning_a_field_changes_what_is_stored(self) -> None:
        made = Cloud(cloud_id=1)
        made.cloud_id = 2
        made.tags.append("x")
        assert row_of(made).args == '{"cloud_id":2,"tags":["x"]}'
        made.tags.append("y")
        assert row_of(made).args == '{"cloud_id":2,"tags":["x","y"]}'

    def test_assigning_what_does_not_fit_is_refused_when_it_is_stored(self) -> None:
        made = Cloud(cloud_id=1)
        made.cloud_id = "many"
        with pytest.raises(InvalidArguments, match="cloud_id"):
            row_of(made)
        made.cloud_id = 3
        assert row_of(made).args == '{"cloud_id":3,"tags":[]}'

    def test_an_attribute_that_is_no_argument_is_not_stored(self) -> None:
        made = Cloud(cloud_id=1)
        made.scratch = object()
        assert row_of(made).args == '{"cloud_id":1,"tags":[]}'


class TestBeforeEnqueue:
    def test_a_new_job_has_its_definitions_queue_and_priority_and_no_state(self) -> None:
        made = send(1)
        assert (made.queue, made.priority) == ("mailers", 3)
        assert (made.state, made.disposition, made.attempt) == (None, None, 0)
        assert (made.stopping, made.cancel_reason) == (False, None)
        assert Cloud(cloud_id=1).queue == "default"

    def test_repr_shows_kind_and_id_and_no_argument(self) -> None:
        made = send(1, template="secret")
        assert repr(made) == "<values.send not enqueued>"
        assert str(made.id) in repr(made)
        assert repr(send) == "<job values.send>"


class TestSet:
    def test_it_changes_this_job_only_and_returns_it(self) -> None:
        made, other = send(1), send(1)
        assert made.set(queue="low", priority=-5, wait=60) is made
        row = row_of(made)
        assert (row.queue, row.priority, row.delay, row.run_at) == ("low", -5, 60.0, None)
        assert (row_of(other).queue, row_of(other).priority, row_of(other).delay) == ("mailers", 3, None)

    def test_the_last_of_wait_and_at_holds(self) -> None:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        row = row_of(send(1).set(wait=60).set(at=at))
        assert (row.delay, row.run_at) == (None, at)
        row = row_of(send(1).set(at=at).set(wait=timedelta(minutes=1)))
        assert (row.delay, row.run_at) == (60.0, None)

    def test_what_is_not_mentioned_stays(self) -> None:
        made = send(1).set(queue="low", wait=60).set(priority=9)
        row = row_of(made)
        assert (row.queue, row.priority, row.delay) == ("low", 9, 60.0)

    @pytest.mark.parametrize(
        "priority", [40_000, -40_000, 32_768, -32_769, 1.0, 1.5, True, "5", None.__class__, 10**30]
    )
    def test_a_priority_is_a_whole_number_that_a_smallint_holds(self, priority: Any) -> None:
        with pytest.raises(InvalidOption, match="priority="):
            send(1).set(priority=priority)

    @pytest.mark.parametrize("priority", [-32_768, 0, 32_767])
    def test_the_outermost_priorities_are_allowed(self, priority: int) -> None:
        assert send(1).set(priority=priority).priority == priority

    @pytest.mark.parametrize(
        "wait",
        [
            *(-1, -0.001, float("nan"), float("inf"), float("-inf"), True, "60", "1m", 10**400, 3650 * 86_400 + 1),
            *(timedelta.max, timedelta.min, timedelta(days=-1), datetime(2026, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_a_wait_is_a_time_span_of_at_most_ten_years(self, wait: Any) -> None:
        with pytest.raises(InvalidOption, match="wait="):
            send(1).set(wait=wait)

    @pytest.mark.parametrize(
        "at",
        [
            datetime(2026, 1, 1),
            *(datetime.max, datetime.min),
            datetime.max.replace(tzinfo=UTC),
            datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=12))),
            *(60, "2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC).date()),
        ],
    )
    def test_at_is_an_aware_datetime_within_ten_years(self, at: Any) -> None:
        with pytest.raises(InvalidOption, match="at="):
            send(1).set(at=at)

    def test_wait_and_at_together_are_refused(self) -> None:
        with pytest.raises(InvalidOption, match="both say when"):
            send(1).set(wait=1, at=datetime.now(UTC))

    @pytest.mark.parametrize(
        "queue",
        ["", " ", "a b", "a\n", "a" * 65, "a" * 200, '"; drop table job; --', "mail✉", "-low", "*", 7, b"low", "a\x00"],
    )
    def test_a_queue_name_is_short_and_plain(self, queue: Any) -> None:
        with pytest.raises(InvalidOption, match="queue="):
            send(1).set(queue=queue)

    @pytest.mark.parametrize("queue", ["a", "A.b-c_d:9", "a" * 64, "_", "9", "a-"])
    def test_these_are_queue_names(self, queue: str) -> None:
        assert send(1).set(queue=queue).queue == queue

    def test_a_refused_set_leaves_the_job_as_it_was(self) -> None:
        made = send(1)
        for wrong in ({"priority": 1.5}, {"wait": -1}, {"at": datetime.max}):
            with pytest.raises(InvalidOption):
                made.set(queue="low", **wrong)
        row = row_of(made)
        assert (row.queue, row.priority, row.delay, row.run_at) == ("mailers", 3, None, None)
