"""`StoredJob`: a job that was read from the database and whose kind this process does not define."""

from __future__ import annotations

from typing import Any

from asyncjobs.definitions.definition import Definition, Source
from asyncjobs.definitions.options import Options
from asyncjobs.jobs.job import Job
from asyncjobs.modules.origin import Origin
from asyncjobs.values import codec
from asyncjobs.values.arguments import Parameter


class StoredJob(Job[Any], abstract=True):
    """A job with plain JSON as arguments and result; it can be awaited and asked about, but not performed here."""

    _is_function_job = True

    @classmethod
    def of(cls, kind: str, args: str) -> StoredJob:
        """Return a job of an unknown kind with its stored arguments."""
        made = cls.__new__(cls)
        made._definition = Definition(  # type: ignore[misc]
            kind=kind,
            aliases=(),
            options=Options(),
            source=Source("", kind, "", 0, Origin("", importable=False)),
            job_class=cls,
            function=None,
            parameters=_no_parameters,
            returns=lambda: Any,
        )
        made._begin(made._definition, _readable(args), args)
        return made


def _readable(args: str) -> dict[str, Any]:
    """Return stored arguments; none where they are no JSON object, as another program may store: `status` shows the text."""
    try:
        values = codec.loads(args)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _no_parameters() -> list[Parameter]:
    return []
