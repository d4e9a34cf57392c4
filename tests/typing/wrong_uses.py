"""What a type checker must refuse: each line is marked, with what it is wrong in. Checked by mypy and pyright, never run."""

from typing import assert_type

from asyncjobs import AsyncJobs, Cursor, Job, current_job, emit_from_thread, job, retry_on, step


@job
async def send(user_id: int, template: str = "hello") -> str:
    return template


@job(queue="low")
def blocking(*, number: int) -> int:
    return number


class Process(Job):
    cloud_id: int
    note: str = ""

    async def perform(self) -> str:
        return self.note


send()  # wrong: an argument is missing
send("x")  # wrong: an argument of another type
send(1, 2)  # wrong: an argument of another type
send(1, "a", 3)  # wrong: an argument too many
send(user=1)  # wrong: an argument that there is not
blocking(1)  # wrong: by position what goes by name only
blocking(number="x")  # wrong: an argument of another type
Process()  # wrong: a field is missing
Process(cloud_id="x")  # wrong: a field of another type
Process(cloud_id=1, more=2)  # wrong: a field that there is not
Process(1)  # wrong: by position what goes by name only
Process(cloud_id=1).note = 5  # wrong: a field of another type
send(1).id = None  # wrong: an id cannot be assigned
send(1).set(priority="high")  # wrong: an option of another type
send(1).set(color="red")  # wrong: an option that there is not
send(1).set(at="tomorrow")  # wrong: an option of another type
send.enqueue()  # wrong: a definition


@job(queue=5)  # wrong: an option of another type
async def wrong_queue() -> None: ...


@job(retries=5)  # wrong: an option that there is not
async def wrong_option() -> None: ...


@job(executor="gpu")  # wrong: an option of another value
async def wrong_executor() -> None: ...


class WrongOption(Job, priority="high"):  # wrong: an option of another type
    async def perform(self) -> None: ...


class UnknownOption(Job, retries=5):  # wrong: an option that there is not
    async def perform(self) -> None: ...


class WrongTimeout(Job, timeout="60s"):  # wrong: an option of another type
    async def perform(self) -> None: ...


@job(abstract=True)  # wrong: an option of classes
async def abstract() -> None: ...


@job(queue=lambda job: job.argument["x"])  # wrong: a job has no such attribute
async def wrong_shard() -> None: ...


class WrongSteps(Job):
    @step(isolated="yes")  # wrong: an option of another type
    async def first(self) -> None: ...

    @step(retries=5)  # wrong: an option that there is not
    async def second(self) -> None: ...


async def fetch(page: int) -> dict[str, int]:
    return {"page": page}


async def export(cursor: Cursor[int]) -> bytes:
    return b""


async def in_steps() -> None:
    me = current_job()
    await me.step("fetch", fetch, "x")  # wrong: an argument of another type
    await me.step("fetch", fetch, 1, more=1)  # wrong: an argument that there is not
    await me.step("fetch", fetch)  # wrong: an argument is missing
    await me.step(fetch, 1)  # wrong: without a name
    await me.step("export", export, 1)  # wrong: the cursor is not the caller's to give
    rows: list[int] = await me.step("fetch", fetch, 1)  # wrong: a dict
    print(rows)


@job
@retry_on(ConnectionError, wait=lambda: 5)  # wrong: a function that takes nothing
async def wrong_wait() -> None: ...


@job
@retry_on(ConnectionError, retries=3)  # wrong: an option that there is not
async def wrong_retries() -> None: ...


async def awaiting(jobs: AsyncJobs) -> None:
    number: int = await send(1)  # wrong: a str
    text: bytes = await Process(cloud_id=1)  # wrong: a str
    other: Job[int] = await jobs.get("", send)  # wrong: a Job[str]
    assert_type(await blocking(number=1), str)  # wrong: an int
    await send(1).result(timeout="soon")  # wrong: an option of another type
    send(1).undefined()  # wrong: a method that there is not
    print(number, text, other)


async def by_the_job_or_its_id(jobs: AsyncJobs) -> None:
    await jobs.result(send)  # wrong: a definition
    await jobs.result(5)  # wrong: neither a job nor an id
    await jobs.status(send)  # wrong: a definition
    await jobs.cancel(Process)  # wrong: a definition
    await jobs.retry(5)  # wrong: neither a job nor an id
    await jobs.discard(None)  # wrong: neither a job nor an id
    await jobs.why(b"")  # wrong: neither a job nor an id
    await jobs.get(5)  # wrong: neither a job nor an id
    number: int = await jobs.result(send(1))  # wrong: a str
    await jobs.emit(5)  # wrong: a name of another type
    print(number)


def without_a_loop() -> None:
    emit_from_thread("approved", 7)  # wrong: by position what goes by name only
    emit_from_thread("approved", connection=None)  # wrong: an option that there is not
    with AsyncJobs().blocking() as jobs:
        jobs.result(send)  # wrong: a definition
        jobs.status(5)  # wrong: neither a job nor an id
        text: bytes = jobs.result(Process(cloud_id=1))  # wrong: a str
        jobs.emit("approved", 7)  # wrong: by position what goes by name only
    print(text)
