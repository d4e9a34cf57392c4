"""What users write, and the type that each of it has. Checked by mypy and pyright, never run."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, assert_type
from uuid import UUID

from asyncjobs import (
    AsyncJobs,
    Cursor,
    Job,
    RecurringStatus,
    Status,
    attribute,
    current_attempt,
    current_job,
    discard_on,
    emit,
    emit_from_thread,
    enqueue_all,
    job,
    register_reference,
    retry_on,
    step,
)


class Cloud:
    id: int = 0


async def load_cloud(key: int) -> Cloud | None:
    return None


register_reference(Cloud, dump=lambda cloud: cloud.id, load=load_cloud)


@job
async def plain(user_id: int, template: str = "hello") -> str:
    return template


@job(queue="mailers", priority=10, retention=timedelta(days=1), aliases=("old.name",))
async def with_options(when: datetime, *, tags: list[str] | None = None) -> dict[str, int]:
    return {}


@job
def blocking(number: int) -> int:
    return number


@job(queue=lambda job: f"shard_{job.arguments['number'] % 3}", executor="thread")
def blocking_with_options(number: int) -> bytes:
    return b""


@job(
    kind="all",
    aliases=("old",),
    queue="low",
    priority=-5,
    timeout=timedelta(minutes=1),
    expires_in=60,
    retention=None,
    max_crashes=1,
    dropped=("lang",),
    executor="loop",
)
async def with_all_options() -> None: ...


class WithACallable(Job, queue=lambda job: f"shard_{job.number}", expires_in=60, max_crashes=2, dropped=("lang",)):
    number: int

    async def perform(self) -> None: ...


@job
async def nothing() -> None: ...


@job
async def with_reference(cloud: Cloud) -> UUID:
    return UUID(int=cloud.id)


class ProcessCloud(Job, queue="critical"):
    cloud_id: int
    note: str = ""

    async def perform(self) -> str:
        return self.note


class Blocking(Job, executor="thread"):
    number: int

    def perform(self) -> list[int]:
        return [self.number]


class ApplicationJob(Job, abstract=True, queue="low", priority=5):
    tenant: str = ""

    def helper(self) -> str:
        return self.tenant


class Derived(ApplicationJob, kind="derived", aliases=("former",), retention=60):
    amount: float

    async def perform(self) -> bytes:
        return self.helper().encode()


class DerivedAgain(Derived):
    more: int = 0


class Explicit(Job[int]):
    async def perform(self) -> int:
        return 1


class Unavailable(Exception):
    seconds: float = 1.0


@job
@retry_on(Unavailable, wait=lambda executions: executions * 30, attempts=3)
@retry_on(TimeoutError, wait=lambda executions, error: executions * 30 if error.args else 1, attempts=3)
async def retried(number: int) -> int:
    return number


def wait_for_service(executions: int, error: Unavailable) -> float:
    return executions * error.seconds


async def wait_long(executions: int) -> timedelta:
    return timedelta(hours=executions)


@retry_on(Unavailable, wait=wait_for_service)
@retry_on(TimeoutError, wait=wait_long)
@retry_on(ConnectionError, wait="polynomially_longer")
@discard_on(LookupError)
class Retried(Job):
    n: int

    async def perform(self) -> int:
        self._cache: dict[str, int] = {}
        return len(self._cache)


Row = TypeVar("Row")


class Fetch(Job[Row], Generic[Row], abstract=True):
    url: str
    rows: list[Row]

    async def perform(self) -> Row:
        return self.rows[0]


class FetchClouds(Fetch[UUID]):
    @step
    async def first(self) -> None: ...

    @step(isolated=True, when=lambda job: True, retry=retry_on(Unavailable, wait=1))
    async def second(self, connection: Any) -> int:
        return 1


async def fetch(page: int, *, size: int = 10) -> dict[str, int]:
    return {"page": page, "size": size}


def parse(text: str) -> list[str]:
    return [text]


async def export(cursor: Cursor[int]) -> bytes:
    return b""


async def export_cloud(cloud_id: int, cursor: Cursor[UUID]) -> bytes:
    return b""


async def store(cloud_id: int, connection: Any) -> str:
    return ""


@job
async def in_steps(n: int) -> int:
    me = current_job()
    assert_type(await me.step("fetch", fetch, 1), dict[str, int])
    assert_type(await me.step("fetch 2", fetch, page=1, size=5), dict[str, int])
    assert_type(await me.step("parse", parse, "a"), list[str])
    assert_type(await me.step("export", export), bytes)
    assert_type(await me.step("export cloud", export_cloud, 1), bytes)
    assert_type(await me.step("store", store, 1, isolated=True), str)
    assert_type(await me.step("now", lambda: 5), int)
    await me.sleep("night", timedelta(hours=8))
    payload = await me.wait_for("approved", key=n, timeout=60)
    assert_type(await me.run("thumbs", plain(1), plain(2)), list[Any])
    return len(str(payload))


class InSteps(Job):
    cloud_id: int
    total: int = attribute(default=0)

    async def fetch(self, page: int) -> dict[str, int]:
        return {}

    async def perform(self) -> int:
        assert_type(await self.step("fetch", self.fetch, 1), dict[str, int])
        assert_type(await self.step("export", export_cloud, self.cloud_id), bytes)
        await self.run_steps()
        return self.total


async def making() -> None:
    assert_type(FetchClouds(url="/", rows=[UUID(int=1)]).rows, list[UUID])
    assert_type(await (await FetchClouds(url="/", rows=[]).enqueue()), UUID)
    assert_type(await (await InSteps(cloud_id=1).enqueue()), int)
    assert_type(await (await in_steps(1).enqueue()), int)
    assert_type(await retried(1).perform_now(), int)
    assert_type(await Retried(n=1).perform_now(), int)
    assert_type(plain(42), Job[str])
    assert_type(plain(user_id=42, template="x"), Job[str])
    assert_type(with_options(datetime.now(), tags=["a"]), Job[dict[str, int]])
    assert_type(blocking(1), Job[int])
    assert_type(blocking_with_options(number=1), Job[bytes])
    assert_type(nothing(), Job[None])
    assert_type(with_reference(Cloud()), Job[UUID])
    assert_type(ProcessCloud(cloud_id=1), ProcessCloud)
    assert_type(Derived(amount=1.5, tenant="x"), Derived)
    assert_type(DerivedAgain(amount=1.5, more=2).tenant, str)
    assert_type(plain.kind, str)
    assert_type(plain.__name__, str)


async def changing() -> None:
    assert_type(plain(1).set(queue="low", priority=5, wait=60), Job[str])
    assert_type(plain(1).set(wait=timedelta(hours=1)), Job[str])
    assert_type(ProcessCloud(cloud_id=1).set(at=datetime.now()), ProcessCloud)
    made = ProcessCloud(cloud_id=1)
    made.note = "later"
    assert_type(made.cloud_id, int)


async def enqueueing(connection: Any) -> None:
    assert_type(await plain(1).enqueue(), Job[str])
    assert_type(await ProcessCloud(cloud_id=1).enqueue(connection=connection), ProcessCloud)
    assert_type(await enqueue_all(plain(n) for n in range(3)), int)
    assert_type(await enqueue_all([plain(1), ProcessCloud(cloud_id=1), blocking(2)]), int)

    async def many() -> AsyncIterator[Job[str]]:
        yield plain(1)

    assert_type(await enqueue_all(many()), int)


async def awaiting() -> None:
    assert_type(await (await plain(1).enqueue()), str)
    assert_type(await (await blocking(1).enqueue()), int)
    await (await nothing().enqueue())
    assert_type(await (await with_options(datetime.now()).enqueue()), dict[str, int])
    assert_type(await (await ProcessCloud(cloud_id=1).enqueue()), str)
    assert_type(await (await Blocking(number=1).enqueue()), list[int])
    assert_type(await (await Derived(amount=1.5).enqueue()), bytes)
    assert_type(await (await DerivedAgain(amount=1.5).enqueue()), bytes)
    assert_type(await (await Explicit().enqueue()), int)
    assert_type(await (await plain(1).set(wait=1).enqueue()).result(timeout=5), str)
    assert_type(await ProcessCloud(cloud_id=1).result(timeout=timedelta(seconds=5)), str)
    assert_type(await Blocking(number=1).result(), list[int])


async def awaiting_what_was_passed_on(one: Job[str], anything: Job[Any]) -> None:
    assert_type(await one, str)
    assert_type(await one.result(), str)
    assert_type(await anything, Any)


async def performing() -> None:
    assert_type(await plain(1).perform_now(), str)
    assert_type(await blocking(1).perform_now(), int)
    assert_type(await ProcessCloud(cloud_id=1).perform_now(), str)
    assert_type(await Blocking(number=1).perform_now(), list[int])


async def reading(jobs: AsyncJobs, job_id: UUID) -> None:
    assert_type(await jobs.get(job_id, plain), Job[str])
    assert_type(await jobs.get(str(job_id), blocking), Job[int])
    assert_type(await jobs.get(job_id, ProcessCloud), ProcessCloud)
    assert_type(await jobs.get(job_id), Job[Any])
    assert_type(await (await jobs.get(job_id, plain)), str)
    assert_type(await (await jobs.get(job_id, Blocking)), list[int])
    assert_type(await plain(1).status(), Status)
    assert_type(await jobs.status(job_id), Status)
    assert_type(await jobs.status(plain(1)), Status)
    assert_type(await jobs.get(plain(1)), Job[str])
    assert_type(await jobs.get(ProcessCloud(cloud_id=1)), ProcessCloud)
    assert_type(await jobs.get(plain(1), plain), Job[str])
    assert_type(plain(1).id, UUID)
    assert_type(current_job().attempt, int)


async def by_the_job_or_its_id(jobs: AsyncJobs, either: Job[Any] | UUID | str) -> None:
    assert_type(await jobs.result(plain(1)), str)
    assert_type(await jobs.result(ProcessCloud(cloud_id=1), timeout=5), str)
    assert_type(await jobs.result(Blocking(number=1), timeout=timedelta(seconds=5)), list[int])
    assert_type(await jobs.result(Derived(amount=1.5)), bytes)
    assert_type(await jobs.result(UUID(int=1)), Any)
    assert_type(await jobs.result("", timeout=5), Any)
    await jobs.result(either)
    assert_type(await jobs.cancel(either, "no longer needed"), bool)
    assert_type(await jobs.retry(either, force=True), bool)
    assert_type(await jobs.discard(either, reason="no longer needed"), bool)
    assert_type(await jobs.why(either), str)
    assert_type(await jobs.get(either, plain), Job[str])


def without_a_loop(either: Job[Any] | UUID | str) -> None:
    assert_type(plain(1).enqueue_from_thread(), Job[str])
    assert_type(plain(1).result_from_thread(5), str)
    assert_type(emit_from_thread("approved", key=1, payload={"by": "kim"}), int)
    with AsyncJobs().blocking() as jobs:
        assert_type(jobs.enqueue(ProcessCloud(cloud_id=1)), ProcessCloud)
        assert_type(jobs.result(plain(1)), str)
        assert_type(jobs.result(ProcessCloud(cloud_id=1), timeout=5), str)
        assert_type(jobs.result(Blocking(number=1)), list[int])
        assert_type(jobs.result(UUID(int=1)), Any)
        assert_type(jobs.result(""), Any)
        jobs.result(either)
        assert_type(jobs.get(ProcessCloud(cloud_id=1)), ProcessCloud)
        assert_type(jobs.get(either, plain), Job[str])
        assert_type(jobs.status(either), Status)
        assert_type(jobs.cancel(either), bool)
        assert_type(jobs.retry(either), bool)
        assert_type(jobs.emit("approved", key=1, payload={"by": "kim"}), int)
        assert_type(jobs.recurring.add("nightly", plain(1), schedule="@daily"), RecurringStatus)
        assert_type(jobs.recurring.run("nightly"), Job[Any])


@job(schedule="0 6 * * *", timezone="Europe/Paris", catch_up="all", overlap="skip", jitter=timedelta(minutes=1))
async def recurs() -> None:
    me = current_attempt()
    assert_type(me.scheduled_for, datetime | None)
    assert_type(me.number, int)


async def recurring(jobs: AsyncJobs) -> None:
    for each in (plain(1), recurs, ProcessCloud, ProcessCloud(cloud_id=1)):
        assert_type(await jobs.recurring.add("daily", each, schedule="@daily", overlap="skip"), RecurringStatus)
    assert_type(await jobs.recurring.all(), list[RecurringStatus])
    assert_type(await jobs.recurring.remove("daily"), bool)
    assert_type(await jobs.recurring.run("daily"), Job[Any])


async def emitting(jobs: AsyncJobs, connection: Any) -> None:
    assert_type(await emit("approved", key=UUID(int=1), connection=connection), int)
    assert_type(await jobs.emit("approved", payload=[1]), int)


async def through_a_client() -> None:
    async with AsyncJobs(database_url="postgresql://…") as jobs:
        assert_type(await jobs.enqueue(plain(1)), Job[str])
        assert_type(await jobs.enqueue(ProcessCloud(cloud_id=1)), ProcessCloud)
        assert_type(await jobs.enqueue_all([plain(1)]), int)
    async with AsyncJobs().running() as running:
        assert_type(running, AsyncJobs)


def passed_to_functions_of_others(made: Job[Any]) -> None: ...


passed_to_functions_of_others(plain(1))
passed_to_functions_of_others(ProcessCloud(cloud_id=1))
