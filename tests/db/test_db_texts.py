"""Texts that are kept in more than one place, for speed, say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asyncjobs.db import migration_files, sql

ROOM = Path(migration_files.__file__).parent
NOTIFYING = sorted(path for path in ROOM.glob("*/*.sql") if "pg_notify('asyncjobs_ready'" in path.read_text())


def plain(text: str) -> str:
    """Return SQL without comments, schemas of what PostgreSQL has, casts of parameters, and line ends."""
    text = re.sub(r"--.*", "", text)
    text = re.sub(r"operator\(pg_catalog\.([^)]+)\)", r"\1", text).replace("pg_catalog.", "")
    text = re.sub(r"(\$\d+)::\w+", r"\1", text)
    return re.sub(r"\s+", " ", text)


def between(text: str, start: str, end: str) -> str:
    return (text.partition(start)[2] if start else text).partition(end)[0].strip()


PARAMETERS = {"$3": "n", "$4": "name", "$5": "state", "$6": "result", "$7": "cursor", "$8": "error", "$9": "age"}


def upsert(name: str) -> tuple[str, str, str]:
    """Return the columns, the values and what happens to a step that is there, of one of the forms."""
    text = plain(sql.read(name))
    if name != "record_steps":
        text = re.sub(r"\$\d+", lambda found: PARAMETERS.get(found[0], found[0]), text)
    values = text.partition("insert into asyncjobs.step as step (")[2]
    return between(values, "", ")"), between(values, " select ", " from "), between(values, "do update ", " returning")


def test_the_three_forms_of_recording_a_step_agree() -> None:
    one, with_attributes, many = map(upsert, ("record_step", "record_step_and_attributes", "record_steps"))
    assert one == with_attributes
    assert one[0].startswith("job, n, name, ") and one[2].endswith("error = excluded.error")
    columns, values, update = many
    assert columns.removesuffix(", children") == one[0]
    assert (
        values.removesuffix(", children").replace("state not in ('started', 'running')", "state <> 'started'") == one[1]
    )
    assert between(update, "", " )").removesuffix(", children = excluded.children") == one[2]


def test_the_day_on_which_a_finished_job_may_go_is_the_same_for_all() -> None:
    function = plain((ROOM / "functions" / "expires_on.sql").read_text())
    rule = between(function, "$$ select ", " $$")
    assert rule.startswith("case when days <= 31 then ")
    assert rule in plain(sql.read("finish"))


@pytest.mark.parametrize("file", NOTIFYING, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_no_notice_is_longer_than_it_may_be_whatever_stands_in_the_table(file: Path) -> None:
    """A queue that was written by hand may have any length; a notice that is too long fails the whole statement."""
    payloads = re.findall(r"pg_notify\('asyncjobs_ready', (.*)", file.read_text())
    assert payloads
    for payload in payloads:
        assert re.search(r"\|\| ' ' \|\| left\((\w+\.)?queue, 64\)\)", payload), payload
