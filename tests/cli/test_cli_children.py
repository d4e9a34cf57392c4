"""What the commands say of jobs that a step runs."""

import asyncio


async def run(cli, *words, code=0):
    return await asyncio.to_thread(cli, *words, code=code)


async def enqueued(cli, *words):
    return (await asyncio.to_thread(cli.json, "enqueue", *words))["id"]


async def test_show_has_counts_and_results_in_their_types_however_many_there_are(cli):
    whole = await enqueued(cli, "cli_jobs.whole", "parts:=300")
    await run(cli, "run", "--burst")
    shown = (await run(cli, "jobs", "show", whole)).stdout
    [line] = [line for line in shown.splitlines() if line.startswith("parts")]
    assert "300 jobs: 300 succeeded; [0, 1, 2, 3" in line
    assert max(map(len, shown.splitlines())) < 400
    [step] = (await asyncio.to_thread(cli.json, "jobs", "show", whole))["steps"]
    assert (step["state"], step["result"], step["cursor"]) == ("succeeded", list(range(300)), None)
    assert [sorted(child) for child in step["children"]] == [["id", "kind", "state"]] * 300


async def test_show_and_why_name_the_first_that_did_not_succeed_and_retry_says_what_it_retries(cli):
    whole = await enqueued(cli, "cli_jobs.whole", "parts:=10", "broken:=5")
    await run(cli, "run", "--burst")
    [step] = (await asyncio.to_thread(cli.json, "jobs", "show", whole))["steps"]
    failed = [child["id"] for child in step["children"] if child["state"] == "failed"]
    shown = (await run(cli, "jobs", "show", whole)).stdout
    names = ", ".join(f"cli_jobs.part {job_id} failed" for job_id in failed[:3])
    assert (
        f"10 jobs: 5 failed, 5 succeeded; {names} and 2 more" in " ".join(shown.split()) or "10 jobs: 5 failed" in shown
    )
    said = (await run(cli, "jobs", "retry", whole, "--dry-run")).stdout
    assert said == "1 job would be retried; 5 failed jobs that a step ran would be retried with it\n"
    said = (await run(cli, "jobs", "retry", whole)).stdout
    assert said == "1 job retried; 5 failed jobs that a step ran are retried with it\n"
    await run(cli, "run", "--burst")
    values = await asyncio.to_thread(cli.json, "jobs", "show", whole)
    assert (values["state"], values["result"], values["attempt"]) == ("succeeded", 45, 2)
    facts = await asyncio.to_thread(cli.json, "jobs", "why", whole)
    assert facts["facts"]["awaits"] == []
