"""Jobs, and what reads pages, for the tests of the dashboard."""

from __future__ import annotations

import asyncio
import html
import re
from typing import Any

import httpx

from asyncjobs import AsyncJobs, Job, attribute, job, step

LOCAL = "http://127.0.0.1:8080"
TAGS = re.compile(r"<[^>]*>")


@job(kind="web.double", queue="numbers")
async def double(number: int) -> int:
    return number * 2


@job(kind="web.fail")
async def fail(message: str = "broken") -> None:
    raise ValueError(message)


class Import(Job, kind="web.Import", queue="imports"):
    file: str
    rows: int | None = attribute(default=None)

    @step
    async def fetch(self) -> int:
        self.rows = 12
        return 12

    @step
    async def store(self) -> None:
        raise ConnectionError("the warehouse is away")

    async def perform(self) -> None:
        await self.run_steps()


class Gate:
    """Where jobs wait until a test lets them go."""

    arrived = asyncio.Event()
    open = asyncio.Event()

    @classmethod
    def close(cls) -> None:
        cls.arrived, cls.open = asyncio.Event(), asyncio.Event()


@job(kind="web.wait_at_gate")
async def wait_at_gate() -> str:
    Gate.arrived.set()
    await Gate.open.wait()
    return "through"


class Web(httpx.AsyncClient):
    """A browser of sorts, on the machine of the dashboard."""

    def __init__(self, application: Any, *, client: str = "127.0.0.1", base: str = LOCAL, **more: Any) -> None:
        transport = httpx.ASGITransport(app=application, client=(client, 4711))
        super().__init__(transport=transport, base_url=base, **more)

    async def text(self, path: str, status: int = 200) -> str:
        """The words of a page, as they are read."""
        answer = await self.get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.text[-2000:])
        return words(answer.text)

    async def json(self, path: str) -> Any:
        answer = await self.get(f"/api{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def token(self, page: str, path: str) -> str:
        """The token of the first form of a page that is sent to a path."""
        text = (await self.get(page)).text
        form = re.search(rf'action="[^"]*{re.escape(path)}"[^>]*>(.*?)</form>', text, re.DOTALL)
        assert form is not None, f"{page} has no form for {path}"
        return re.search(r'name="token" value="([0-9a-f]+)"', form[1])[1]

    async def submit(self, page: str, path: str, **fields: Any) -> httpx.Response:
        """Send a form as a browser does that shows the page."""
        fields = {"token": await self.token(page, path), "back": page, **fields}
        return await self.post(path, data=fields, headers={"sec-fetch-site": "same-origin"})


def words(text: str) -> str:
    """What is read of HTML."""
    text = text[text.find("<main") :].replace("</span><wbr>", "")  # a line may break there, and no word ends
    return " ".join(html.unescape(TAGS.sub(" ", text)).split())


async def failed_import(jobs: AsyncJobs) -> Import:
    """An import whose second step has failed."""
    made = await Import(file="july.csv").enqueue()
    try:
        await made
    except Exception:
        return made
    raise AssertionError
