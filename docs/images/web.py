"""Draws the pictures of the dashboard, from a shop of which everything is made up: `python -m docs.images.web`.

Needs a Chromium, and what `pip install -e '.[dev]'` installs.
"""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from playwright.async_api import Page

from asyncjobs import AsyncJobs, migrate
from asyncjobs.embedded.temporary import temporary_postgres
from asyncjobs.web.serving import serve
from tests.support.browsers import chromium, opened
from tests.support.mixed_jobs import fill

HERE = Path(__file__).parent
PICTURES = {
    "web-overview.png": ("/", "light", 1120, 760),
    "web-job.png": ("/jobs/{job}", "light", 1120, 860),
    "web-failures.png": ("/failures", "dark", 1120, 560),
    "web-phone.png": ("/", "dark", 360, 720),
}
"""Of each its page, colours, width and height."""


async def draw(page: Page, base: str, directory: Path, job: str) -> None:
    """Draw the pictures of a dashboard into a directory."""
    for name, (path, colours, width, height) in PICTURES.items():
        await page.set_viewport_size({"width": width, "height": height})
        await page.emulate_media(color_scheme=colours, reduced_motion="reduce")
        await page.goto(base.rstrip("/") + path.format(job=job))
        await page.wait_for_function("document.getElementById('live').textContent === 'live'")
        await page.screenshot(path=directory / name)


async def _drawn(url: str, path: str) -> None:
    """Serve a filled database, and draw its pictures."""
    await fill(url, finished=40_000, ready=3_000)
    async with AsyncJobs(database_url=url) as jobs, opened(path) as browser:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(serve(jobs.dashboard(), host="127.0.0.1", port=0, on_start=ready.set_result))
        [job] = await jobs._client().run(
            lambda connection: connection.fetch("select job from asyncjobs.step order by job limit 1")
        )
        await draw(await browser.new_page(), await ready, HERE, str(job["job"]))
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


async def main() -> None:
    """Draw the pictures beside this file."""
    if (path := chromium()) is None:
        sys.exit("no chromium is installed: ASYNCJOBS_TEST_CHROMIUM names one")
    async with temporary_postgres("asyncjobs-pictures-") as server:
        await migrate(server.url())
        await _drawn(server.url(), path)


if __name__ == "__main__":
    asyncio.run(main())
