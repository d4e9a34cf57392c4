"""The lines about jobs and of jobs in the log of `asyncjobs run`."""

import json
import re

import cli_jobs
import log_jobs
import pytest


@pytest.fixture
async def said(start, enqueue):
    """What a worker has logged that has run jobs of every sort, and their ids by kind."""
    jobs = [log_jobs.on_loop(), log_jobs.in_thread(), log_jobs.in_process(), log_jobs.own_field()]
    await enqueue(*jobs)
    worker = start("log_jobs", "--burst", "--log-format", "json")
    assert await worker.exit_code() == 0
    return worker.log, {each.kind: str(each.id) for each in jobs}


async def test_every_line_of_a_job_names_it_whichever_library_writes_it_and_wherever_it_runs(said):
    log, ids = said
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    for where in ("on_loop", "in_thread", "in_process"):
        kind = f"log_jobs.{where}"
        fields = {"job_id": ids[kind], "job_kind": kind, "job_attempt": 1}
        for library in ("plain", "through"):
            [line] = [line for line in lines if line["message"] == f"{library} {where}"]
            assert fields.items() <= line.items()
            assert line.get("amount") == (3 if library == "through" else None)
        [direct] = re.findall(rf"direct {where} .*", log)
        assert set(direct.split()[2:]) == {f"{name}={value}" for name, value in fields.items()}
        assert f"loguru {where} {fields}" in log
    [own] = [line for line in lines if line["message"] == "own field"]
    assert (own["job_kind"], own["job_id"]) == ("mine", ids["log_jobs.own_field"])
    [outside] = [line for line in lines if line["message"] == "outside any job"]
    assert "job_id" not in outside


async def test_each_end_is_a_line_with_its_fields_and_a_failure_has_its_traceback(start, enqueue):
    jobs = [cli_jobs.add(1).set(priority=1), cli_jobs.fail("x")]
    await enqueue(*jobs)
    worker = start("--burst", "--log-format", "json")
    assert await worker.exit_code() == 0
    ends = [json.loads(line) for line in worker.log.splitlines() if "asyncjobs.worker.ends" in line]
    failed, well = sorted(ends, key=lambda line: line["outcome"])
    assert (failed["level"], failed["outcome"], failed["job_kind"]) == ("error", "failed", "cli_jobs.fail")
    assert (
        'raise ValueError(f"this fails: {word}")' in failed["exception"] and "attempt_runner" not in failed["exception"]
    )
    assert (well["level"], well["outcome"], well["queue"]) == ("info", "succeeded", "default")
    assert (well["job_id"], well["job_attempt"]) == (str(jobs[0].id), 1)
    assert 0 <= well["duration_s"] < well["wait_s"] < 60  # it has waited for the start of the worker
    assert re.fullmatch(
        rf"cli_jobs.add {jobs[0].id} succeeded: attempt 1, queue default, waited \d+\.\d+ s, took \d+\.\d+ s",
        well["message"],
    )


@pytest.mark.parametrize(
    ("lines", "expected"), [pytest.param("ends", 2, marks=pytest.mark.slow), ("failures", 1), ("none", 0)]
)
async def test_a_setting_says_which_ends_are_lines(start, enqueue, lines, expected):
    await enqueue(cli_jobs.add(1), cli_jobs.fail("x"))
    worker = start("--burst", ASYNCJOBS_LOG_JOBS=lines)
    assert await worker.exit_code() == 0
    assert worker.log.count("asyncjobs.worker.ends") == expected


@pytest.mark.slow
async def test_of_jobs_that_succeed_by_the_thousand_some_are_lines_and_the_others_are_counted(start, enqueue):
    await enqueue(*(cli_jobs.quiet() for _ in range(1000)))
    worker = start("--burst")
    assert await worker.exit_code() == 0
    lines = worker.log.count("cli_jobs.quiet ")
    counted = sum(map(int, re.findall(r"(\d+) more jobs succeeded within a second", worker.log)))
    assert 200 <= lines < 1000 and lines + counted == 1000


async def test_in_text_the_job_stands_behind_the_message_unless_that_names_it(start, enqueue):
    job_id = await enqueue(cli_jobs.add(1))
    worker = start("--burst")
    assert await worker.exit_code() == 0
    assert f"cli_jobs: begun add [cli_jobs.add {job_id} attempt 1]" in worker.log
    assert "attempt 1]" not in next(line for line in worker.log.splitlines() if "succeeded" in line)
