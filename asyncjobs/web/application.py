"""The application: which page answers which address, and how errors are answered."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asyncjobs.checks.foreign_texts import log
from asyncjobs.db import audit
from asyncjobs.exceptions import (
    AsyncJobsError,
    BatchNotFound,
    DatabaseUnavailable,
    InvalidArguments,
    InvalidOption,
    JobNotFound,
    NotUnique,
    PermissionDenied,
    SchemaMismatch,
)
from asyncjobs.web import forms
from asyncjobs.web.actions import PAST, Actor
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.guarding import HEADERS, admitted, check_origin
from asyncjobs.web.pages import batches, failures, job, jobs, overview, queues, recurring, system, workers
from asyncjobs.web.queries import address
from asyncjobs.web.refusals import Refused
from asyncjobs.web.rendering import as_json, assets, render

logger = logging.getLogger("asyncjobs.web")
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
Reader: TypeAlias = Callable[[Dashboard, Request], Awaitable[dict[str, Any]]]

PAGES: dict[str, tuple[str, str, Reader]] = {
    "/": ("overview", "Overview", overview.read),
    "/queues": ("queues", "Queues", queues.read),
    "/jobs": ("jobs", "Jobs", jobs.read),
    "/jobs/{id}": ("job", "Job", job.read),
    "/failures": ("failures", "Failures", failures.read),
    "/recurring": ("recurring", "Recurring", recurring.read),
    "/batches": ("batches", "Batches", batches.read),
    "/batches/{id}": ("batch", "Batch", batches.read_one),
    "/workers": ("workers", "Workers", workers.read),
    "/system": ("system", "System", system.read),
    "/confirm": ("confirm", "Confirm", forms.question),
}
"""Pages by their path: the template, the title, and what reads the values."""
NAVIGATION = ("/", "/queues", "/jobs", "/failures", "/recurring", "/batches", "/workers", "/system")
LIVE = ("overview", "queues", "jobs", "job", "failures", "recurring", "batches", "batch", "workers")
"""Pages that are refreshed while they are looked at."""
_STATUSES: tuple[tuple[type[AsyncJobsError], int, str], ...] = (
    (JobNotFound, 404, "Not found"),
    (BatchNotFound, 404, "Not found"),
    (NotUnique, 409, "Not unique"),
    (PermissionDenied, 403, "Not permitted"),
    (InvalidOption, 400, "Not possible"),
    (InvalidArguments, 400, "Not possible"),
    (SchemaMismatch, 503, "Another schema"),
    (DatabaseUnavailable, 503, "No answer from the database"),
)


def dashboard_application(dashboard: Dashboard) -> ASGIApp:
    """Return the ASGI application of a dashboard."""
    answers = _Answers(dashboard)
    routes = [Route("/static/{name}", answers.asset)]
    for path in PAGES:
        routes.append(Route(path, answers.page(path)))
        if path != "/confirm":
            routes.append(Route(f"/api{path if path != '/' else '/overview'}", answers.json(path)))
    routes.append(Route("/jobs/{id}/{what}", answers.refusing(answers.value)))
    if not dashboard.read_only:
        routes += [Route(path, answers.act(path), methods=["POST"]) for path in forms.ACTS]
    application = Starlette(
        routes=routes, exception_handlers={404: answers.refuse, 405: answers.refuse, Refused: answers.refuse}
    )
    application.router.redirect_slashes = False  # they lead to what Host says, and a proxy may say something else there
    return _Guarded(application, answers)


class _Guarded:
    """The application behind its guard: it asks first who comes, and adds headers to each answer."""

    def __init__(self, application: Starlette, answers: _Answers) -> None:
        self._application = application
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in self._answers.headers.items()]
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in more if name not in given),
                ]
            await send(message)

        request = Request(scope, receive)
        try:
            answer = await self._answers.admit(request)
        except Exception as error:
            answer = await self._answers.refuse(request, error)
        await (answer or self._application)(scope, receive, with_headers)


class _Answers:
    """Answers requests."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self.headers = {**HEADERS, "cache-control": "no-store", "vary": "hx-request"}

    async def admit(self, request: Request) -> Response | None:
        """Return the answer of whoever does not let the request in; None: it may come in, and `who` is in its scope."""
        if _path(request).startswith("/static/"):
            request.scope["asyncjobs_who"] = ""
            return None
        who = await admitted(request, self._dashboard.auth)
        if isinstance(who, Response):
            return who
        request.scope["asyncjobs_who"] = who
        return None

    async def asset(self, request: Request) -> Response:
        """Answer with a file that pages use."""
        found = assets().get(request.path_params["name"])
        if found is None:
            raise Refused(404, "Not found", "There is no such file.")
        headers = {"content-type": found.type, "cache-control": "public, max-age=31536000, immutable"}
        return Response(found.content, headers=headers)

    def page(self, path: str) -> Endpoint:
        """Return the endpoint of a page."""
        template, title, read = PAGES[path]

        async def answer(request: Request) -> Response:
            values = await read(self._dashboard, request)
            if read is jobs.read and (only := jobs.only_one(values)) is not None:
                return RedirectResponse(_base(request) + only, status_code=303)
            return await self._rendered(request, template, title, values)

        return self.refusing(answer)

    def json(self, path: str) -> Endpoint:
        """Return the endpoint of the same values as JSON."""
        read = PAGES[path][2]

        async def answer(request: Request) -> Response:
            return Response(as_json(await read(self._dashboard, request)), media_type="application/json")

        return self.refusing(answer)

    async def value(self, request: Request) -> Response:
        """Answer with one value of a job, all of it."""
        return await job.read_value(self._dashboard, request)

    def act(self, path: str) -> Endpoint:
        """Return the endpoint of a form."""
        do, fields = forms.ACTS[path]

        async def answer(request: Request) -> Response:
            check_origin(request)
            given = await forms.read_form(request, fields)
            who, tokens = request.scope["asyncjobs_who"], await self._dashboard.tokens()
            if not tokens.is_good(given.text("token") or "", who, path):
                raise Refused(
                    403,
                    "Sent too late",
                    "This form is older than a day, or was made for somebody else. Open the page again.",
                )
            back = forms.back_of(given)
            entry = await do(Actor(self._dashboard, who), given)
            return RedirectResponse(
                f"{_base(request)}{back}{'&' if '?' in back else '?'}notice={entry}", status_code=303
            )

        return self.refusing(answer)

    def refusing(self, answer: Endpoint) -> Endpoint:
        """Return an endpoint whose errors are answers."""

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except Exception as error:
                return await self.refuse(request, error)

        return answered

    async def refuse(self, request: Request, error: Exception) -> Response:
        """Answer a request that failed, or was refused."""
        status, title, text = _said(error)
        if status >= 500 and not isinstance(error, AsyncJobsError | Refused):
            log(logger, logging.ERROR, "a page of the dashboard failed", error=error)
        if _path(request).startswith("/api/"):
            return Response(as_json({"error": title, "text": text}), status, media_type="application/json")
        content = render("refused.html", {**self._frame(request, title, ""), "status": status, "text": text})
        return Response(content, status, media_type="text/html")

    async def _rendered(self, request: Request, template: str, title: str, values: dict[str, Any]) -> Response:
        dashboard = self._dashboard
        tokens = None if dashboard.read_only else await dashboard.tokens()
        who = request.scope["asyncjobs_who"]

        def token(path: str) -> str:
            return "" if tokens is None else tokens.make(who, path)

        frame = self._frame(request, title, template)
        frame |= {
            "token": token,
            "now": await dashboard.now(),
            "notice": await self._notice(request),
            "bulk": forms.BULK,
        }
        frame |= {"verbs": forms.VERBS, "data": values}
        return Response(render(f"{template}.html", frame), media_type="text/html")

    async def _notice(self, request: Request) -> dict[str, Any] | None:
        """Return what an action has come to, of which the address names the entry."""
        given = request.query_params.get("notice", "")
        if not (given.isascii() and given.isdigit() and len(given) < 19):
            return None
        entry = await self._dashboard.read(lambda connection: audit.read_one(connection, int(given)))
        if entry is None:
            return None
        return {**entry._asdict(), "past": {action.value: past for action, past in PAST.items()}.get(entry.action, "")}

    def _frame(self, request: Request, title: str, name: str) -> dict[str, Any]:
        """Return what every page has."""
        base = _base(request)

        def link(path: str, **values: Any) -> str:
            return base + address(path, values)

        def asset(name: str) -> str:
            return f"{base}/static/{name}?v={assets()[name].version}"

        query = request.scope["query_string"].decode("latin-1")
        return {
            "title": title,
            "page": name,
            "link": link,
            "asset": asset,
            "here": _path(request) + (f"?{_without_notice(query)}" if _without_notice(query) else ""),
            "refresh": link(_path(request)) + (f"?{query}" if query else ""),
            "live_pages": LIVE,
            "navigation": [(path, PAGES[path][1], PAGES[path][0]) for path in NAVIGATION],
            "read_only": self._dashboard.read_only,
            "hides_arguments": self._dashboard.hides_arguments,
            "who": request.scope.get("asyncjobs_who", ""),
            "partial": request.headers.get("hx-request") == "true",
            "notice": None,
        }


def _without_notice(query: str) -> str:
    return "&".join(part for part in query.split("&") if part and not part.startswith("notice="))


def _base(request: Request) -> str:
    """Return the path under which the dashboard is mounted; empty: it is not."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def _path(request: Request) -> str:
    """Return the path of a request within the dashboard."""
    path, base = str(request.scope["path"]), _base(request)
    return path[len(base) :] if base and path.startswith(f"{base}/") else path


def _said(error: Exception) -> tuple[int, str, str]:
    """Return the status, the title and the text for an error."""
    if isinstance(error, Refused):
        return error.status, error.title, error.text
    for kind, status, title in _STATUSES:
        if isinstance(error, kind):
            return status, title, str(error)
    status = getattr(error, "status_code", 500)
    if status == 404:
        return 404, "Not found", "There is no such page."
    if status == 405:
        return 405, "Not allowed", "This address is for forms, or is not for them."
    return 500, "Failed", "This page could not be made; the log of the server says why."
