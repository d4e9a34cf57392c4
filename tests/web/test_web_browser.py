"""The dashboard in a real browser: each page, what can be done, live updates, a phone, the dark, and without JavaScript."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, expect
from web_jobs import double, fail, failed_import

from asyncjobs import AsyncJobs, JobFailed
from docs.images import web as pictures
from tests.support.asking import until
from tests.support.browsers import chromium, opened
from tests.support.mixed_jobs import fill

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no chromium is installed: ASYNCJOBS_TEST_CHROMIUM names one"),
]

AXE = (Path(__file__).parent / "axe" / "axe-4.14.1.min.js").read_text()
ANOTHER_WORKER = """
insert into asyncjobs.worker
select (jsonb_populate_record(one, jsonb_build_object('id', gen_random_uuid(), 'report', $1::text::jsonb))).*
from asyncjobs.worker as one limit 1"""
PATIENCE = 15_000
"""Milliseconds."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with opened(chromium() or "") as found:
        yield found


@asynccontextmanager
async def served(application: Any) -> AsyncIterator[str]:
    """The URL of a server for a dashboard, on this loop."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, lifespan="off", log_config=None, ws="none"))
    server.capture_signals = suppress
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def page_of(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """A page that has seen no error of a script, and nothing that the policy forbids, when the block is over."""
    context = await browser.new_context(
        **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
    )
    context.set_default_timeout(PATIENCE)
    page = await context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    try:
        yield page
    finally:
        await context.close()
    assert wrong == []


async def check_access(page: Page) -> None:
    """Axe finds nothing serious."""
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [rule for rule in found["violations"] if rule["impact"] in ("serious", "critical")]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in serious] == []


async def check_fits(page: Page) -> None:
    """Nothing of the page is wider than the window, except what scrolls by itself."""
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, page.url


async def paths(connection: asyncpg.Connection) -> list[str]:
    """Every page, those of one thing among them."""
    job = await connection.fetchval("select job from asyncjobs.step limit 1")
    failed = await connection.fetchval("select id from asyncjobs.finished where state = 5 order by id desc limit 1")
    batch = await connection.fetchval("select id from asyncjobs.batch limit 1")
    return ["/", "/queues", "/jobs", "/jobs?state=failed", f"/jobs/{job}", f"/jobs/{failed}", "/failures", "/recurring", "/batches",
            f"/batches/{batch}", "/workers", "/system", "/confirm?action=retry&state=failed"]  # fmt: skip


@pytest.mark.parametrize("every", [False, True])
async def test_each_page_is_for_everybody_in_the_light_and_on_a_phone_in_the_dark(
    client: AsyncJobs, connection: asyncpg.Connection, url: str, browser: Browser, every: bool, tmp_path: Path
) -> None:
    """With them the pictures of the documents are drawn, into a directory of the test's."""
    await fill(url, finished=400 if every else 200, ready=200 if every else 60)
    async with served(client.dashboard()) as base, page_of(browser) as page:
        found = await paths(connection)
        for colours, width, height in (("light", 1280, 900), ("dark", 320, 640)):
            await page.set_viewport_size({"width": width, "height": height})
            await page.emulate_media(color_scheme=colours)
            light = colours == "light"
            # Axe takes longer than a page does: where not every one is tried, those with the most on them are.
            for path in found if every else found[::3] if light else found[2:6:3]:
                await page.goto(base + path)
                await check_fits(page)
                if every or (light and path == found[3]):
                    await check_access(page)
            dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, dark[4:-1].split(","))) < 120) is not light
        job = await connection.fetchval("select job from asyncjobs.step limit 1")
        await pictures.draw(page, base, tmp_path, str(job))
    assert {path.name for path in tmp_path.iterdir()} == set(pictures.PICTURES)


async def test_a_failed_job_is_found_understood_and_retried(
    jobs: AsyncJobs, connection: asyncpg.Connection, browser: Browser
) -> None:
    made = await failed_import(jobs)
    async with served(jobs.dashboard()) as base, page_of(browser) as page:
        await page.goto(base)
        await page.get_by_role("link", name="failed 1").click()
        await page.get_by_role("link", name="newest").click()
        await expect(page.locator("pre", has_text="ConnectionError: the warehouse is away")).to_be_visible()
        await page.get_by_role("button", name="Retry", exact=True).click()
        await expect(page.locator(".notice")).to_contain_text("1 job retried")
        with pytest.raises(JobFailed):
            await made
        await expect(page.get_by_role("row", name="127.0.0.1 retry")).to_be_visible()
    assert (await made.status()).attempt == 2


async def test_chosen_jobs_and_all_that_match_are_acted_on_by_keyboard(
    client: AsyncJobs, connection: asyncpg.Connection, browser: Browser
) -> None:
    for n in range(4):
        await double(n).enqueue()
    async with served(client.dashboard()) as base, page_of(browser) as page:
        await page.goto(f"{base}/jobs?state=ready")
        await page.get_by_role("checkbox").nth(1).focus()
        await page.keyboard.press("Space")
        await page.get_by_role("button", name="Discard", exact=True).focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Discard 1 job?")).to_be_visible()
        await page.get_by_label("Reason").fill("a mistake")
        await page.keyboard.press("Enter")
        await expect(page.locator(".notice")).to_contain_text("1 job discarded: a mistake")
        await page.get_by_role("button", name="Cancel all").click()
        await expect(page.get_by_role("heading", name="Cancel 3 jobs?")).to_be_visible()
        await page.get_by_role("button", name="Cancel 3 jobs").click()
        await expect(page.locator(".notice")).to_contain_text("3 jobs cancelled")
    assert await connection.fetchval("select array_agg(state order by state) from asyncjobs.finished") == [6, 7, 7, 7]


async def test_a_page_is_refreshed_by_itself_and_leaves_what_somebody_writes_alone(
    client: AsyncJobs, connection: asyncpg.Connection, browser: Browser
) -> None:
    await double(1).enqueue()
    async with served(client.dashboard()) as base, page_of(browser) as page:
        await page.clock.install()
        await page.goto(f"{base}/queues")
        reason = page.get_by_label("Reason to pause numbers")
        await expect(page.get_by_role("link", name="1", exact=True)).to_be_visible()
        await double(2).enqueue()
        await page.clock.run_for(2_500)
        await expect(page.get_by_role("link", name="2", exact=True)).to_be_visible()
        await reason.fill("a mo")
        await double(3).enqueue()
        await page.clock.run_for(10_000)
        await page.keyboard.type("ve")
        await expect(reason).to_be_focused()
        assert await reason.input_value() == "a move"
        await expect(page.get_by_role("link", name="2", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Stop refresh", exact=True).and_(page.locator("#pause")).click()
        await expect(page.locator("#live")).to_have_text("paused")
        await page.reload()
        await expect(page.locator("#live")).to_have_text("paused")
        await page.locator("#pause").click()
        await expect(page.locator("#live")).to_have_text("live")
        await page.get_by_label("Reason to pause numbers").fill("a move")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("by 127.0.0.1: a move")).to_be_visible()


async def test_what_is_opened_stays_open_while_the_page_is_refreshed(
    jobs: AsyncJobs, connection: asyncpg.Connection, browser: Browser
) -> None:
    made = await fail("one").enqueue()
    with pytest.raises(JobFailed):
        await made
    await jobs.retry(made)
    with pytest.raises(JobFailed):
        await made
    async with served(jobs.dashboard()) as base, page_of(browser) as page:
        await page.goto(f"{base}/jobs/{made.id}")
        earlier = page.locator("details.error").nth(1)
        await earlier.locator("summary").click()
        async with page.expect_response(lambda response: made.id.hex[-4:] in response.url):
            pass
        await connection.execute("update asyncjobs.finished set reason = 'seen' where id = $1", made.id)
        await expect(page.get_by_text("seen").first).to_be_visible()
        assert await earlier.evaluate("details => details.open")


async def test_everything_is_done_without_javascript(
    client: AsyncJobs, connection: asyncpg.Connection, browser: Browser
) -> None:
    made = await double(1).enqueue()
    await client.recurring.add("nightly", double(2), schedule="@daily")
    async with served(client.dashboard()) as base, page_of(browser, java_script_enabled=False) as page:
        await page.goto(f"{base}/jobs/{made.id}")
        await expect(page.locator("#pause")).to_be_hidden()
        await page.get_by_role("button", name="Discard…").click()
        await page.get_by_role("button", name="Discard 1 job").click()
        await expect(page.locator(".notice")).to_contain_text("1 job discarded")
        await page.get_by_role("link", name="Recurring").click()
        await page.get_by_role("button", name="Run now").click()
        await expect(page.locator(".notice")).to_contain_text("run recurring nightly")
        await page.get_by_role("link", name="Queues").click()
        await page.locator("#queue-numbers").get_by_role("button", name="Pause").click()
        await expect(page.locator(".notice")).to_contain_text("pause queue numbers")
    assert await connection.fetchval("select count(*) from asyncjobs.audit") == 3


async def test_a_blocked_loop_is_found_from_the_overview_and_its_worker_told_to_be_quiet(
    jobs: AsyncJobs, connection: asyncpg.Connection, browser: Browser
) -> None:
    report = {"blocked": {"web.block": {"count": 3, "longest": 2.5, "place": "web_jobs.py:31 in block"}}}
    await until(connection, "select exists (select from asyncjobs.worker)")
    await connection.execute(ANOTHER_WORKER, json.dumps(report))
    async with served(jobs.dashboard()) as base, page_of(browser) as page:
        await page.goto(base)
        await page.get_by_role("link", name="web.block has blocked the event loop").click()
        await expect(page.get_by_role("row", name="web. block web_jobs.py:31 in block 3 2.5s")).to_be_visible()
        await page.get_by_role("button", name="Quiet").first.click()
        await until(connection, "select bool_or(quiet) from asyncjobs.worker")
        await page.get_by_role("button", name="Claim again").click()
        await until(connection, "select not bool_or(quiet) from asyncjobs.worker")
