"""Forms: what is asked before something is done with jobs, and what is done then."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request

from asyncjobs.checks.texts import cut
from asyncjobs.client.job_actions import Asked
from asyncjobs.client.job_filters import Action, Filter, filter_of
from asyncjobs.db import job_actions
from asyncjobs.db.looking import Wanted
from asyncjobs.db.rows import State
from asyncjobs.exceptions import InvalidOption
from asyncjobs.failing.failures import FailureGroup
from asyncjobs.web.actions import MOST_CHOSEN, Actor
from asyncjobs.web.dashboard import Dashboard
from asyncjobs.web.pages import failures
from asyncjobs.web.pages.listed import counts, words_of
from asyncjobs.web.queries import FILTER, Given, filter_parameters, form, parameters
from asyncjobs.web.refusals import bad, missing

_BACK = re.compile(
    r"/(?:jobs|queues|failures|recurring|batches|workers|system)?(?:/[0-9a-f-]{36})?"
    r"(?:\?[\w%&=+.~:@!$'()*,;/?-]*)?",
    re.ASCII,
)
_CHOICE = ("action", "id", *FILTER, "group", "back")
ACTIONS = {
    "retry": Asked(Action.retry),
    "run": Asked(Action.retry, forced=True),
    "discard": Asked(Action.discard),
    "cancel": Asked(Action.cancel),
}
"""Actions on jobs, by the name that forms have for them."""
VERBS = {"retry": "Retry", "run": "Run now", "discard": "Discard", "cancel": "Cancel"}
BULK = {
    "scheduled": ("run", "cancel", "discard"),
    "ready": ("cancel", "discard"),
    "running": ("cancel",),
    "waiting": ("cancel", "discard"),
    "succeeded": (),
    "failed": ("retry", "discard"),
    "discarded": ("retry",),
    "cancelled": ("retry",),
}
"""What can be done with all jobs of a state."""


def back_of(given: Given) -> str:
    """Return the page to go back to: one of the dashboard's own."""
    back = given.text("back", 2_000) or "/jobs"
    if not _BACK.fullmatch(back):
        raise bad("back must be a page of the dashboard")
    return back


def _named(given: Given) -> tuple[str, Asked]:
    name = given.required("action")
    if name not in ACTIONS:
        raise bad(f"action must be one of {', '.join(ACTIONS)}")
    return name, ACTIONS[name]


def _filter(asked: Asked, wanted: Wanted, group: str | None) -> Filter:
    """Return the filter of an action on all jobs that match."""
    if group is None and wanted.state is None:
        raise bad("which jobs? give ids, a state, or a group")
    try:
        found = filter_of(
            asked.action,
            kind=wanted.kind,
            queue=wanted.queue,
            error=wanted.error,
            state=None if wanted.state is None else wanted.state.name,
            group=group,
            **words_of(wanted),
        )
        # What the page shows, which is of this name alone, without a kind's aliases.
        return found if wanted.kind is None else found._replace(kinds=(wanted.kind,))
    except InvalidOption:
        raise bad(
            f"nothing can be done so with jobs of this state, or these do not go together: {', '.join(FILTER)}, group"
        ) from None


def _words(wanted: Wanted, group: str | None, known: FailureGroup | None = None) -> str:
    if group is not None:
        words = f"failed jobs of group {group}" if known is None else _words_of_group(known)
        return words + (f", in queue {wanted.queue}" if wanted.queue else "")
    parts = [f"{'' if wanted.state is None else State(wanted.state).name} jobs"]
    parts += [f"of kind {wanted.kind}"] if wanted.kind else []
    parts += [f"in queue {wanted.queue}"] if wanted.queue else []
    parts += [f"with the error {cut(wanted.error, 100)}"] if wanted.error else []
    parts += [f"with the tag {wanted.tag}"] if wanted.tag else []
    parts += [f"with the argument {cut(wanted.arg, 100)}"] if wanted.arg else []
    return ", ".join(parts).replace(" jobs, of", " jobs of", 1)


def _words_of_group(group: FailureGroup) -> str:
    error = ": ".join(filter(None, (group.error.removeprefix("builtins."), group.message)))
    where = f", at {group.line}" if group.line else ""
    return f"failed jobs of kind {group.kind}, with {cut(error, 200)}{where}"


async def _group(dashboard: Dashboard, group: str) -> tuple[FailureGroup | None, bool]:
    """Return a group of failures, None: it is not among the newest, and whether all failed jobs were looked at."""
    found = await dashboard.read(lambda connection: job_actions.read_failures(connection, failures.GROUPED))
    return next((one for one in found.groups if one.id == group), None), found.is_complete


async def question(dashboard: Dashboard, request: Request) -> dict[str, Any]:
    """Return the values of the page that asks before something is done."""
    given = parameters(request, *_CHOICE)
    name, asked = _named(given)
    ids, group, back = given.uuids("id", MOST_CHOSEN), given.text("group"), back_of(given)
    wanted = given.wanted(hides_arguments=dashboard.hides_arguments)
    if ids:
        count, more, words = len(ids), False, "chosen jobs" if len(ids) > 1 else f"job {ids[0]}"
        fields = [("id", str(job_id)) for job_id in ids]
    else:
        known, is_complete = (None, True) if group is None else await _group(dashboard, group)
        words = _words(wanted, group, known)
        _filter(asked, wanted, group)
        if group is None:
            count, more = await _counted(dashboard, wanted)
        elif known is None:
            raise missing(
                "There is no such group among the newest failed jobs; its id changes with the line of the code."
            )
        else:
            count, more = known.total, not is_complete
        fields = list(filter_parameters(wanted).items()) + ([] if group is None else [("group", group)])
    return {
        "action": name,
        "verb": VERBS[name],
        "count": {"jobs": count, "more": more},
        "words": words,
        "fields": fields,
        "back": back,
        "asks_reason": asked.action is not Action.retry,
    }


async def _counted(dashboard: Dashboard, wanted: Wanted) -> tuple[int, bool]:
    """Return how many jobs match, as far as the pages count them, and whether there may be more."""
    assert wanted.state is not None
    counted = (await dashboard.read(lambda connection: counts(connection, wanted)))[wanted.state.name]
    return counted["jobs"], counted["more"]


async def act_on_jobs(actor: Actor, given: Given) -> int:
    """Do what a form asks with jobs; return the entry of the audit."""
    _, asked = _named(given)
    ids, group = given.uuids("id", MOST_CHOSEN), given.text("group")
    wanted = given.wanted(hides_arguments=actor.dashboard.hides_arguments)
    asked = asked._replace(
        reason=given.text("reason", 1_000) or "",
        from_step=given.text("from_step", 401),
    )
    if asked.from_step is not None:
        asked = asked._replace(forced=True)
    if ids:
        return await actor.jobs(asked, ids)
    which = _filter(asked, wanted, group)
    known = None if group is None else (await _group(actor.dashboard, group))[0]
    return await actor.all_jobs(asked, which, _words(wanted, group, known))


async def act_on_queue(actor: Actor, given: Given) -> int:
    """Pause or resume a queue or a kind."""
    queue, kind = given.queue(), given.kind()
    if (queue is None) == (kind is None):
        raise bad("which? give queue or kind")
    action = given.one_of("action", ("pause", "resume"))
    if action is None:
        raise bad("action must be pause or resume")
    if action == "resume":
        return await actor.resume(queue, kind)
    return await actor.pause(queue, kind, reason=given.text("reason", 1_000) or "", until=given.text("until", 50))


async def act_on_recurring(actor: Actor, given: Given) -> int:
    """Run, pause or resume a schedule."""
    action = given.one_of("action", ("run", "pause", "resume"))
    if action is None:
        raise bad("action must be one of run, pause, resume")
    return await actor.recurring(action, given.required("name"))


async def act_on_worker(actor: Actor, given: Given) -> int:
    """Tell a worker to claim nothing, or to claim again."""
    action, worker = given.one_of("action", ("quiet", "go on")), given.uuid("id")
    if action is None or worker is None:
        raise bad("give action and id")
    return await actor.quiet(worker, wanted=action == "quiet")


ACTS = {
    "/do/jobs": (act_on_jobs, (*_CHOICE, "reason", "from_step")),
    "/do/queue": (act_on_queue, ("action", "queue", "kind", "reason", "until", "back")),
    "/do/worker": (act_on_worker, ("action", "id", "back")),
    "/do/recurring": (act_on_recurring, ("action", "name", "back")),
}
"""What a form sent to a path does, and its fields."""


async def read_form(request: Request, fields: tuple[str, ...]) -> Given:
    """Return the fields of a form, its token among them."""
    return await form(request, *fields, "token")
