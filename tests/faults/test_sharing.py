"""What several workers take, and leave to each other: kinds, and jobs that were claimed ahead."""

from tests.faults import jobs as work
from tests.faults.new_jobs import brand_new


async def test_a_worker_never_claims_a_kind_that_only_a_newer_one_knows(scene):
    unknown = [brand_new(n) for n in range(200)]
    for job in unknown:
        scene.oracle.write("try", job_id=job.id)
    assert await scene.jobs.enqueue_all(unknown) == 200
    for job in unknown:
        scene.oracle.write("ok", job_id=job.id)
    await scene.start(name="old")
    known = await scene.enqueue(*(work.tiny(n) for n in range(20)))  # behind two hundred that it must pass over
    await scene.finished(*known)
    [left] = await scene.fetch("select count(*), max(attempt), max(fence) from asyncjobs.job where state = 1")
    assert tuple(left) == (200, 0, 0)
    await scene.start("tests.faults.jobs", "tests.faults.new_jobs", name="new", concurrency=50)
    await scene.finished(*unknown)
    assert {event.worker for event in scene.events(event="start") if event.job_id in {str(j.id) for j in unknown}} == {
        "new"
    }
    await scene.clean(max_attempts=1)


async def test_what_was_claimed_ahead_of_long_jobs_is_given_back_to_idle_workers(scene):
    first = await scene.start(name="first", concurrency=2)
    warm_up = await scene.enqueue(*(work.tiny(n) for n in range(300)))  # at this rate many are claimed ahead
    held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(10)))
    await scene.finished(*warm_up)
    await scene.start(name="second", concurrency=10)
    await scene.running(*held)
    scene.open(scene.gate())
    rows = await scene.finished(*held)
    assert {row["attempt"] for row in rows} == {1}
    assert first.running
    await scene.clean(max_attempts=1)
