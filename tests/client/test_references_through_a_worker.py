"""References end to end: stored as a key, loaded by the worker, and what becomes of those that cannot be."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import pytest
from client_jobs import double, row

from asyncjobs import AsyncJobs, Job, JobFailed, job, register_reference
from tests.support.processes import PATIENCE


class Cloud:
    def __init__(self, key: int, name: str) -> None:
        self.key = key
        self.name = name


class Broken:
    pass


stored: dict[int, Cloud] = {}


async def load(key: int) -> Cloud | None:
    return stored.get(key)


def cannot_load(key: int) -> Broken:
    raise ConnectionError(f"no answer about {key}")


@pytest.fixture(autouse=True)
def clouds() -> Iterator[None]:
    register_reference(Cloud, dump=lambda cloud: cloud.key, load=load)
    register_reference(Broken, dump=lambda _: 5, load=cannot_load)
    stored.update({number: Cloud(number, f"cloud {number}") for number in range(3)})
    yield
    stored.clear()


@job(kind="references.name_of")
async def name_of(cloud: Cloud) -> str:
    return cloud.name


@job(kind="references.names_of")
def names_of(clouds: list[Cloud], other: Cloud | None = None) -> list[str]:
    return [cloud.name for cloud in clouds] + ([other.name] if other else [])


@job(kind="references.broken")
async def broken(thing: Broken) -> None: ...


class Rename(Job, kind="references.Rename"):
    cloud: Cloud
    name: str

    async def perform(self) -> str:
        self.cloud.name = self.name
        return self.cloud.name


async def test_it_is_stored_as_its_key_and_loaded_before_the_job_runs(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = await name_of(Cloud(1, "another object")).set(wait=0.2).enqueue()
    assert (await row(connection, made))["args"] == '{"cloud":1}'
    assert await made.result(timeout=PATIENCE) == "cloud 1"


async def test_in_containers_and_absent_and_in_threads(jobs: AsyncJobs) -> None:
    made = await names_of([stored[0], stored[2]], other=stored[1]).enqueue()
    assert await made.result(timeout=PATIENCE) == ["cloud 0", "cloud 2", "cloud 1"]
    assert await (await names_of([]).enqueue()).result(timeout=PATIENCE) == []


async def test_a_field_of_a_class_is_the_loaded_object(jobs: AsyncJobs) -> None:
    made = await Rename(cloud=stored[1], name="new").enqueue()
    assert await made.result(timeout=PATIENCE) == "new"
    assert stored[1].name == "new"


async def test_one_that_is_gone_ends_in_failed_and_says_which(jobs: AsyncJobs) -> None:
    made = await name_of(stored.pop(1)).enqueue()
    with pytest.raises(JobFailed, match="the Cloud of a stored key does not exist any more") as raised:
        await made.result(timeout=PATIENCE)
    assert raised.value.error_type == "asyncjobs.exceptions.RecordNotFound"
    assert (await made.status()).state == "failed"
    assert await (await double(1).enqueue()).result(timeout=PATIENCE) == 2


async def test_a_loader_that_fails_ends_in_failed_with_a_reason_that_may_pass(jobs: AsyncJobs) -> None:
    made = await broken(Broken()).enqueue()
    with pytest.raises(JobFailed, match="could not be loaded: ConnectionError: no answer about 5") as raised:
        await made.result(timeout=PATIENCE)
    assert raised.value.error_type == "asyncjobs.exceptions.DeserializationError"


async def test_a_job_that_was_found_again_can_be_performed_here(jobs: AsyncJobs) -> None:
    made = await name_of(stored[1]).enqueue()
    assert await made.result(timeout=PATIENCE) == "cloud 1"
    found = await jobs.get(made.id, name_of)
    assert await found.perform_now() == "cloud 1"
