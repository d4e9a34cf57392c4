"""What a worker tells of itself: bounded, storable, and read whoever wrote it."""

import json
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from asyncjobs.jobs.recurring import LeftOut
from asyncjobs.performing.attempt import Attempt
from asyncjobs.worker.lease import worker_report
from asyncjobs.worker.lease.worker_report import LONGEST, MOST, Report
from asyncjobs.worker.watching.blocks import Blocks


def attempt(kind: str = "k", at: float = 0.0) -> Attempt:
    row = SimpleNamespace(id=uuid4(), kind=kind)
    return cast("Attempt", SimpleNamespace(claimed=row, cancel_reason="timeout", cancelled_at=at))


def test_what_is_written_is_read() -> None:
    stuck = [attempt(at=86400.0), attempt("other", at=0.0)]
    left = [LeftOut("b", "@daily", "Mars/Olympus", "käse" * 200), LeftOut("a", "@dayly", "UTC", "no schedule")]
    text = worker_report.write(
        draining=True, stuck=stuck, blocked={"k": Blocks(2, 1.5, "/srv/k.py:3 in k")}, claims_nothing="käse" * 200,
        left_out=left, lag=0.01234, waits={"q": {17: 3}},
    )  # fmt: skip
    read = worker_report.read(json.loads(text))
    assert read.draining
    assert read.claims_nothing == "käse" * (LONGEST // 4)
    assert [(job.kind, job.since) for job in read.stuck] == [
        ("other", "1970-01-01T00:00:00Z"),
        ("k", "1970-01-02T00:00:00Z"),
    ]
    assert read.stuck[0].id == str(stuck[1].claimed.id)
    assert read.blocked == {"k": Blocks(2, 1.5, "/srv/k.py:3 in k")}
    assert (read.lag, read.waits) == (0.0123, {"q": {17: 3}})
    assert read.left_out == (left[1], left[0]._replace(why="käse" * (LONGEST // 4)))


def test_a_report_is_plain_ascii_whatever_a_kind_is_called() -> None:
    kinds = ("käse", "\x00", "\ud800", '"]}')
    text = worker_report.write(draining=False, stuck=map(attempt, kinds), blocked=dict.fromkeys(kinds, Blocks(1, 1.0)))
    assert text.isascii() and "\x00" not in text
    assert set(worker_report.read(json.loads(text)).blocked) == set(kinds)


def test_a_report_names_so_many_and_the_worst() -> None:
    blocked = {f"k{n}": Blocks(1, float(n)) for n in range(3 * MOST)}
    stuck = [attempt(at=float(n)) for n in range(3 * MOST)]
    read = worker_report.read(json.loads(worker_report.write(draining=False, stuck=stuck, blocked=blocked)))
    assert (len(read.stuck), len(read.blocked)) == (MOST, MOST)
    assert next(iter(read.blocked)) == f"k{3 * MOST - 1}"
    assert read.stuck[0].id == str(stuck[0].claimed.id)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"draining": "yes", "stuck": 3, "blocked": [], "claims_nothing": True, "left_out": "x"},
        {"lag": "x", "waits": {"q": 1, "r": {"x": 1}, "s": {"9999": 1}, "t": {"1": "x"}, "u": {"1": 0}}},
        {"stuck": [1, None], "blocked": {"k": 1, "l": {"count": "x"}, "m": {"count": True, "longest": 1}}},
    ],
)
def test_what_another_version_writes_in_another_form_is_left_out(values: dict[str, Any]) -> None:
    assert worker_report.read(values) == Report()


def test_what_several_workers_saw_is_put_together() -> None:
    several = [Report(blocked={"a": Blocks(1, 0.5), "b": Blocks(1, 2.0)}), Report(blocked={"a": Blocks(2, 0.7)})]
    assert worker_report.blocks_of_all([Report(blocked={"a": Blocks(1, 0.5, "x")}), *several])["a"] == Blocks(4, 0.7)
    assert list(worker_report.blocks_of_all(several).items()) == [("b", Blocks(1, 2.0)), ("a", Blocks(3, 0.7))]
