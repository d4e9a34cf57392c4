"""Wrong calls: each is answered with what to write instead."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pydantic.dataclasses
import pytest

from asyncjobs import (
    AsyncJobs,
    AsyncJobsError,
    Batch,
    Cursor,
    InvalidCall,
    InvalidDefinition,
    InvalidOption,
    InvalidStep,
    Job,
    Limit,
    NotAJob,
    Rate,
    Unique,
    UnstorableResult,
    chain,
    current_job,
    discard_on,
    emit,
    enqueue_all,
    job,
    rescue_from,
    retry_on,
    step,
)
from asyncjobs.client.recurring import Recurring
from asyncjobs.performing.fan_out import FanOut


class Cloud(Job):
    cloud_id: int
    delay: int

    async def perform(self) -> int:
        return self.delay


@job
async def hello(name: str) -> str:
    return name


@job
async def handing_out() -> Any:
    return hello("z")


@job
async def nameless() -> Any:
    return await current_job().step(hello.function)  # type: ignore[call-overload]


class Stepping(Job, kind="misuse.Stepping"):
    how: str

    @step(isolated=True)
    async def lent(self, connection: Any) -> str:
        return f"lent {connection}"

    @step
    async def rows(self, place: Cursor[int]) -> str:
        return f"rows {place}"

    @step(retry=retry_on(OSError))
    async def inside(self, *, cursor: Any) -> None:
        raise TypeError("of its own")

    async def perform(self) -> Any:
        match self.how:
            case "lent":
                return await self.lent()  # type: ignore[call-arg]
            case "rows":
                return await self.rows()  # type: ignore[call-arg]
            case "given":
                return [await self.lent("here"), await self.rows("there")]  # type: ignore[arg-type]
            case "error inside":
                return await self.inside(cursor=None)
            case "other error":
                return await self.lent(1, 2)  # type: ignore[call-arg]
            case "step with too much":
                return await self.step("rows", self.rows, 1, 2)


@step(timeout=60)
async def pages(first: int, cursor: Cursor[int]) -> int:
    return first


@job(kind="misuse.paging")
async def paging(how: str) -> int:
    if how == "bare":
        return await pages(3)  # type: ignore[call-arg]
    return await current_job().step("pages", pages, 3)


class Plain:
    perform_later = "a name like any other"


@pytest.mark.parametrize(
    "use",
    [
        lambda: Cloud.enqueue(cloud_id=1),
        lambda: Cloud.enqueue(),
        lambda: Cloud.enqueue("a"),
        lambda: Cloud.set(queue="low"),
        lambda: Cloud.perform_now(),
        lambda: Cloud.step("a", print),
        lambda: Cloud.perform_later(1),
        lambda: Cloud.delay(1),
        lambda: Cloud.apply_async(),
        lambda: hello.enqueue("a"),
        lambda: hello.delay("a"),
        lambda: hello.cancel(),
    ],
)
def test_a_definition_that_is_used_as_a_job_says_how_one_is_made(use: Callable[[], Any]) -> None:
    with pytest.raises(NotAJob, match=r"is a definition: call it .* as in `await (Cloud|hello)\(…\)\.\w+\(\)`"):
        use()


async def test_what_other_systems_enqueue_with_is_answered_on_a_job_and_may_be_a_field() -> None:
    with pytest.raises(NotAJob, match=r"a job has no perform_later\(\): `await job.enqueue\(\)`"):
        hello("a").perform_later()
    assert not hasattr(Cloud(cloud_id=1, delay=0), "apply_async")
    assert await Cloud(cloud_id=1, delay=5).perform_now() == 5


def test_a_method_of_a_job_can_be_called_on_its_class_with_the_job() -> None:
    made = Cloud(cloud_id=1, delay=0)
    assert Job.set(made, queue="low").queue == Cloud.set(made, priority=5).queue == "low"
    assert inspect.iscoroutinefunction(made.enqueue)
    assert list(inspect.signature(Job.enqueue).parameters) == ["self", "connection"]
    assert Job.enqueue.__doc__ and made.enqueue.__name__ == "enqueue"


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (
            lambda: hello("a").set(delay=5),
            InvalidCall,
            r"set\(\) has no option 'delay': write wait=…; there are queue,",
        ),
        (lambda: hello("a").set(eta=5), InvalidCall, r"write at=…"),
        (lambda: hello("a").set(priorty=5), InvalidCall, r"write priority=…"),
        (lambda: hello("a").set(retries=5), InvalidCall, r"set by @retry_on\(Error, attempts=…\)"),
        (lambda: hello("a").set(time_limit=5), InvalidCall, r"timeout= belongs to the definition"),
        (
            lambda: hello("a").set(color=5),
            InvalidCall,
            r"no option 'color'; there are queue, priority, unique, concurrency, rate_limit, wait, at, meta, tags$",
        ),
        (lambda: hello("a").set(5), InvalidCall, r"set\(\) takes its options by name: write queue=… or"),
        (
            lambda: hello("a").enqueue(object()),
            InvalidCall,
            r"enqueue\(\) takes its options by name: write connection=…",
        ),
        (lambda: hello("a").enqueue(session=5), InvalidCall, r"write connection=…"),
        (lambda: hello("a").result(5), InvalidCall, r"result\(\) takes its options by name: write timeout=…"),
        (
            lambda: retry_on(OSError, retries=3),
            InvalidDefinition,
            r"retry_on\(\) has no option 'retries': write attempts=…",
        ),
        (lambda: retry_on(OSError, countdown=3), InvalidDefinition, r"write wait=…"),
        (lambda: discard_on(OSError, attempts=3), InvalidDefinition, r"discard_on\(\) has no option 'attempts'"),
        (
            lambda: job(retries=3)(hello.function),
            InvalidDefinition,
            r"hello has no option 'retries': the number of attempts",
        ),
        (lambda: job(task_name="a")(hello.function), InvalidDefinition, r"write kind=…"),
        (lambda: type("X", (Job,), {}, time_limit=5), InvalidDefinition, r"write timeout=…"),
        (lambda: job(limit=Limit(1))(hello.function), InvalidDefinition, r"'limit': write concurrency=…"),
        (lambda: job(cron="@daily")(hello.function), InvalidDefinition, r"'cron': write schedule=…"),
        (lambda: job(max_depth=5)(hello.function), InvalidDefinition, r"config.toml, \[default\.queues\.NAME\]"),
        (lambda: job(aging=5)(hello.function), InvalidDefinition, r"config.toml, \[\[default\.pools\]\]"),
        (lambda: Limit(10, per=60), InvalidCall, r"Limit\(\) has no option 'per': .* by Rate\(10, per=60\)"),
        (lambda: Limit(1, key="rate:a"), InvalidOption, r"keys of rates are stored with 'rate:' before them"),
        (
            lambda: job(concurrency=[Limit(1, key=f"k{n}") for n in range(51)])(hello.function),
            InvalidDefinition,
            r"at most 50 limits and",
        ),
        (lambda: Unique(key="user_id"), InvalidCall, r"Unique\(\) has no option 'key': write by=…"),
        (lambda: Limit(1, "user"), InvalidCall, r"Limit\(\): how many comes first"),
        (lambda: Rate(10), InvalidCall, r"Rate\(\): how many comes first, then in which time"),
        (lambda: Unique(("user",), 60), InvalidCall, r"Unique\(\): what the key is comes first"),
        (
            lambda: AsyncJobs().pause("mailers"),
            InvalidCall,
            r'pause\(\): say what by name, as in `pause\(queue="mailers"',
        ),
        (lambda: AsyncJobs().resume("mailers"), InvalidCall, r"resume\(\): say what by name"),
        (lambda: AsyncJobs().enqueue_all(hello("a"), hello("b")), InvalidCall, r"give all of them as one iterable"),
        (lambda: enqueue_all(hello("a"), hello("b")), InvalidCall, r"give all of them as one iterable"),
        (lambda: emit("paid", 7), InvalidCall, r"the name comes first, the rest goes by name"),
        (lambda: chain(hello("a")).enqueue(object()), InvalidCall, r"give the connection by name"),
        (lambda: Batch().enqueue(object()), InvalidCall, r"give the connection by name"),
        (lambda: rescue_from(ValueError, with_="x"), InvalidDefinition, r"has no option 'with_'"),
        (lambda: FanOut([chain(hello("a"))], detached=False), InvalidOption, r"run: Chain is no job"),
        (lambda: Recurring(None).add("x", hello, "@daily"), InvalidCall, r"add\(\): the name and the job come first"),
        (lambda: Recurring(None).add("x", hello, cron="@daily"), InvalidCall, r"write schedule=…"),
        (lambda: Recurring(None).pause(), InvalidCall, r'pause\(\): give its name, as in `pause\("report"\)'),
        (lambda: Unique(ttl=60), InvalidCall, r"Unique\(\) has no option 'ttl': write window=…"),
        (lambda: chain.previous + 1, TypeError, r"chain.previous is no value yet"),
        (lambda: chain.previous["id"], TypeError, r"chain.previous is no value yet"),
        (lambda: chain.previous.id, TypeError, r"chain.previous is no value yet"),
        (lambda: "a" if chain.previous else "b", TypeError, r"chain.previous is no value yet"),
        (lambda: AsyncJobs().set_limit(hello, 5), InvalidOption, r"is no text: give a shared key, a kind's name"),
        (lambda: Rate(1, per=1, by=("a",), key="a").acquire(), InvalidOption, r"takes from one bucket"),
        (lambda: Rate(1, per=1).acquire("rate:a"), InvalidOption, r"keys of rates are stored with 'rate:' before them"),
        (lambda: step(atomic=True), InvalidDefinition, r"@step has no option 'atomic': write isolated=…"),
        (lambda: AsyncJobs("postgresql://…"), InvalidCall, r"AsyncJobs\(\): everything goes by name.*database_url="),
        (lambda: AsyncJobs(url="postgresql://…").open(), AsyncJobsError, r"did you mean database_url\?"),
        (lambda: AsyncJobs().__enter__(), InvalidCall, r"write `async with AsyncJobs\(\)"),
        (
            lambda: nameless().perform_now(),
            InvalidCall,
            r'the step\'s name comes first, as in `await job.step\("fetch", ',
        ),
        (
            lambda: Stepping(how="lent").perform_now(),
            InvalidCall,
            r"""lent\(\) is a step, .* its 'connection' .*`await self\.step\("lent", self\.lent\)`, or `await self\.run_steps""",
        ),
        (
            lambda: Stepping(how="rows").perform_now(),
            InvalidCall,
            r"its 'place' .*`await self\.step\(\"rows\", self\.rows",
        ),
        (
            lambda: paging("bare").perform_now(),
            InvalidCall,
            r'its \'cursor\' .*current_job\(\)\.step\("pages", pages, …\)',
        ),
        (lambda: Stepping(how="error inside").perform_now(), TypeError, r"^of its own$"),
        (
            lambda: Stepping(how="other error").perform_now(),
            TypeError,
            r"takes 2 positional arguments but 3 were given",
        ),
        (
            lambda: Stepping(how="step with too much").perform_now(),
            InvalidStep,
            r"arguments after the function are passed to it",
        ),
        (
            lambda: handing_out().perform_now(),
            UnstorableResult,
            r"a job, which is no result: `await` it",
        ),
    ],
)
async def test_a_call_that_nobody_answers_says_what_to_write(
    call: Callable[[], Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        await call()


async def test_a_step_that_takes_more_runs_as_one_and_can_be_called_with_all_that_it_takes() -> None:
    assert await Stepping(how="given").perform_now() == ["lent here", "rows there"]
    assert await paging("as a step").perform_now() == 3
    assert list(inspect.signature(Stepping.lent).parameters) == ["self", "connection"]


def test_a_wrong_call_is_a_type_error_and_a_wrong_option() -> None:
    assert issubclass(InvalidCall, TypeError) and issubclass(InvalidCall, InvalidOption)
    assert issubclass(NotAJob, TypeError) and issubclass(NotAJob, AttributeError)


def test_an_error_inside_is_not_taken_for_a_wrong_call() -> None:
    with pytest.raises(InvalidOption, match="priority='high' is not allowed"):
        hello("a").set(priority="high")
    with pytest.raises(InvalidDefinition, match=r"retry_on: 5 is no exception class"):
        retry_on(5)


class TestDataclasses:
    @pytest.mark.parametrize(
        "decorator",
        [
            dataclasses.dataclass,
            dataclasses.dataclass(frozen=True),
            dataclasses.dataclass(slots=True),
            pydantic.dataclasses.dataclass,
            pydantic.dataclasses.dataclass(frozen=True),
        ],
    )
    def test_a_job_class_under_a_decorator_of_dataclasses_is_refused_there(self, decorator: Any) -> None:
        with pytest.raises(InvalidDefinition, match=r"SendMail: a job class is no dataclass: remove the decorator"):

            @decorator
            class SendMail(Job, kind="misuse.SendMail"):
                to: str

                async def perform(self) -> str:
                    return self.to

    def test_a_job_class_under_a_decorator_of_attrs_is_refused_there(self) -> None:
        attr = pytest.importorskip("attr")
        for decorator in (attr.define, attr.frozen, attr.define(slots=False), attr.s(auto_attribs=True)):
            with pytest.raises(InvalidDefinition, match="a job class is no dataclass: remove the decorator"):

                @decorator
                class SendMail(Job, kind="misuse.Attrs"):
                    to: str

                    async def perform(self) -> str:
                        return self.to

    async def test_a_job_whose_class_was_given_another_init_says_so_at_its_first_use(self) -> None:
        class SendMail(Job, kind="misuse.Given"):
            async def perform(self) -> None: ...

        SendMail.__init__ = lambda self: None  # as some decorator does
        with pytest.raises(InvalidDefinition, match="a job class is no dataclass"):
            await SendMail().perform_now()

    def test_a_job_is_no_dataclass_to_those_who_ask(self) -> None:
        assert not dataclasses.is_dataclass(Cloud)
        assert not dataclasses.is_dataclass(Cloud(cloud_id=1, delay=0))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])
async def test_definitions_and_jobs_can_be_copied_and_pickled(again: Callable[[Any], Any]) -> None:
    assert again(hello) is hello
    made = hello("a").set(queue="low")
    assert made.id
    same = again(made)
    assert same.id == made.id and same.queue == "low"
    assert await same.perform_now() == "a"
    assert await again(Cloud(cloud_id=1, delay=3)).perform_now() == 3
