"""The numbers that count claims and arrivals, beyond 31 bits."""

import pytest

from asyncjobs import Job, current_job, job

pytestmark = pytest.mark.usefixtures("database_url")  # whose sequences are set


@job(kind="numbers.in_steps")
async def in_steps(n: int) -> int:
    return await current_job().step("double", lambda: 2 * n)


async def test_jobs_are_enqueued_claimed_and_finished_across_the_end_of_31_bits(jobs, connection):
    for sequence in ("ready_seq", "fence_seq"):
        await connection.execute(f"alter sequence asyncjobs.{sequence} restart with {2**31 - 20}")
    made: list[Job[int]] = [await in_steps(n).enqueue() for n in range(50)]
    assert [await each for each in made] == [2 * n for n in range(50)]
    for sequence in ("ready_seq", "fence_seq"):
        assert await connection.fetchval(f"select last_value from asyncjobs.{sequence}") > 2**31
