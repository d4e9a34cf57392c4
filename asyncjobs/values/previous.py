"""`chain.previous`: the argument that stands for the result of the job before, until that result exists."""

from __future__ import annotations

import secrets
from typing import Any, Final, NoReturn, Protocol

from asyncjobs.exceptions import InvalidOption


class _Previous:
    """The type of `chain.previous`."""

    def __repr__(self) -> str:
        return "chain.previous"

    def __str__(self) -> NoReturn:
        raise TypeError("chain.previous is no value yet: it stands for a result that exists when the job runs")

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("chain.previous is no value yet: use it in the job that takes it, when it runs")

    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __call__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # copying, pickling and pydantic look for methods that it does not have
            raise AttributeError(name)
        self._refuse()

    def __copy__(self) -> _Previous:
        return self

    def __deepcopy__(self, _: Any) -> _Previous:
        return self

    def __reduce__(self) -> str:
        return "PREVIOUS"


PREVIOUS: Final = _Previous()


def new_mark() -> str:
    """Return a random text that stands for `chain.previous` in stored arguments."""
    return f"chain.previous {secrets.token_hex(16)}"


class Shape(Protocol):
    """The shape that validates and stores the arguments."""

    opaque: bool

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return valid values."""

    def store(self, values: dict[str, Any]) -> str:
        """Return the JSON text of the values."""


class Pending(dict[str, Any]):
    """The values of a job of which some are the result of the job before.

    Attributes:
        names: Names of the values that are that result.
        mark: The text that stands for them in the stored arguments.
    """

    names: frozenset[str]
    mark: str
    _shape: Shape

    @classmethod
    def of(cls, values: dict[str, Any], names: frozenset[str], mark: str, shape: Shape) -> Pending:
        """Return values that were validated with the mark in place of `chain.previous`."""
        made = cls({**values, **dict.fromkeys(names, PREVIOUS)})
        made.names, made.mark, made._shape = names, mark, shape
        return made

    def text(self, now: dict[str, Any]) -> str:
        """Return the arguments as they are stored, with changes made since the job was made."""
        values = {name: self.mark if value is PREVIOUS else value for name, value in now.items()}
        return self._shape.store(values if self._shape.opaque else self._shape.validate(values))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a job with chain.previous is pickled or copied: make it where its chain is made")


def previous_in(job: Any) -> list[str]:
    """Return the names of a job's arguments that are `chain.previous`."""
    values = job._values
    return sorted(values.names) if isinstance(values, Pending) else []


def check_known(job: Any) -> None:
    """Refuse a job with arguments that are `chain.previous`, where no job comes before it.

    Raises:
        InvalidOption: It has such arguments.
    """
    if names := previous_in(job):
        raise InvalidOption(
            f"{job.kind}: {', '.join(names)} is chain.previous, and nothing comes before this job: enqueue it in a chain, "
            "as in chain(fetch(1), resize(chain.previous))"
        )
