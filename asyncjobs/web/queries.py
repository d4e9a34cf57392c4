"""What a request asks for: parameters of its address, and fields of its form, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from starlette.requests import Request

from asyncjobs.checks import limits, names
from asyncjobs.checks.id_beginnings import RULE, Ids, ids_beginning
from asyncjobs.checks.texts import is_storable
from asyncjobs.db.looking import Wanted
from asyncjobs.db.rows import State
from asyncjobs.exceptions import InvalidOption
from asyncjobs.web.refusals import Refused, bad

MOST_FIELDS = 200
MOST_BODY = 64 * 1024
"""Bytes of a form."""
MOST_ERROR = 200
"""Characters of the error in a filter."""
MOST_TAG = 100
FORM = "application/x-www-form-urlencoded"
FILTER = ("state", "kind", "queue", "error", "tag", "arg")


class Given:
    """The parameters of an address, or the fields of a form.

    Args:
        pairs: Names and values.
        allowed: The names that may be among them.

    Raises:
        Refused: There is another name, or one is given twice that has one value.
    """

    def __init__(self, pairs: Collection[tuple[str, str]], allowed: Collection[str]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in allowed:
                raise bad(
                    f"it has a parameter that this page does not know; it knows {', '.join(sorted(allowed)) or 'none'}"
                )
            self._values.setdefault(name, []).append(value)

    def text(self, name: str, most: int = 500) -> str | None:
        """Return one text; None: it is not there, or empty."""
        values = self._values.get(name, [""])
        if len(values) > 1:
            raise bad(f"{name} is given {len(values)} times: give it once")
        value = values[0].strip()
        if len(value) > most or not is_storable(value):
            raise bad(f"{name} must be text of at most {most} characters, without NUL")
        return value or None

    def uuid(self, name: str) -> UUID | None:
        """Return one id; None: it is not there."""
        text = self.text(name)
        return None if text is None else _uuid(name, text)

    def beginning(self, name: str) -> Ids | None:
        """Return the ids that begin with a text; None: it is not there."""
        text = self.text(name)
        if text is None:
            return None
        found = ids_beginning(text)
        if found is None:
            raise bad(f"{name} must be {RULE}")
        return found

    def uuids(self, name: str, most: int) -> list[UUID]:
        """Return ids, each once."""
        found = self._values.get(name, [])
        if len(found) > most:
            raise bad(f"{name} is given {len(found)} times: give it at most {most} times")
        return list(dict.fromkeys(_uuid(name, text) for text in found))

    def whole(self, name: str, *, least: int, most: int) -> int | None:
        """Return one whole number; None: it is not there."""
        text = self.text(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
            raise bad(f"{name} must be a whole number from {least} to {most}")
        return int(text)

    def one_of(self, name: str, choices: Collection[str]) -> str | None:
        """Return one text among `choices`; None: it is not there."""
        text = self.text(name)
        if text is not None and text not in choices:
            raise bad(f"{name} must be one of {', '.join(choices)}")
        return text

    def required(self, name: str) -> str:
        """Return one text that must be there."""
        text = self.text(name)
        if text is None:
            raise bad(f"{name} is missing")
        return text

    def queue(self) -> str | None:
        """Return the name of a queue."""
        found = self.text("queue")
        return (
            None if found is None else _checked(limits.queue_name, found, f"queue must be a name: {names.QUEUE_RULE}")
        )

    def kind(self) -> str | None:
        """Return a kind."""
        found = self.text("kind")
        return (
            None
            if found is None
            else _checked(limits.kind_name, found, f"kind must be a kind's name: {names.KIND_RULE}")
        )

    def wanted(self, *, hides_arguments: bool) -> Wanted:
        """Return the filter of jobs; where arguments are hidden, none is searched for: a value could be guessed by that."""
        argument = self.text("arg")
        if hides_arguments and argument is not None:
            raise bad("arg: this dashboard hides arguments (redact=), and searches for none")
        state = self.one_of("state", [state.name for state in State])
        return Wanted(
            None if state is None else State[state],
            self.kind(),
            self.queue(),
            self.text("error", MOST_ERROR),
            self.text("tag", MOST_TAG),
            argument,
        )


def _checked(check: object, value: str, rule: str) -> str:
    assert callable(check)
    try:
        return str(check(value))
    except InvalidOption:
        raise bad(rule) from None


def _uuid(name: str, text: str) -> UUID:
    try:
        found = UUID(text) if len(text) == 36 else None
    except ValueError:
        found = None
    if found is None or not found.int:
        raise bad(f"{name} must be an id, such as 0190b6d2-7a4f-7c63-9d0e-8b1f6a2c4e90")
    return found


def of_path(request: Request) -> UUID:
    """Return the id in the path of a request."""
    try:
        return _uuid("id", request.path_params["id"])
    except Refused:
        raise Refused(404, "Not found", "The address holds no id.") from None


def parameters(request: Request, *allowed: str) -> Given:
    """Return the parameters of a request's address."""
    return Given(_pairs(request.scope["query_string"]), {*allowed, "notice"})


async def form(request: Request, *allowed: str) -> Given:
    """Return the fields of a form; at most `MOST_BODY` bytes of the body are read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise Refused(415, "Not a form", f"Send it as {FORM}.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY:
            raise Refused(413, "Too large", f"A form may have {MOST_BODY:,} bytes.")
    return Given(_pairs(bytes(body)), allowed)


def _pairs(text: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise bad(f"its parameters cannot be read, or are more than {MOST_FIELDS}") from None


def address(path: str, values: Mapping[str, object] | None = None) -> str:
    """Return a path with parameters; those that are None are left out."""
    given = {name: value for name, value in (values or {}).items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def filter_parameters(wanted: Wanted) -> dict[str, str]:
    """Return the parameters that stand for a filter."""
    state = None if wanted.state is None else wanted.state.name
    values = (state, wanted.kind, wanted.queue, wanted.error, wanted.tag, wanted.arg)
    return {name: value for name, value in zip(FILTER, values, strict=True) if value is not None}
