"""The plans of searches: by the indexes, whatever the statistics say."""

from __future__ import annotations

import json
import time
from typing import Any

import asyncpg
import pytest

from asyncjobs.db import reading

BY_LABEL = ["Bitmap Index Scan on job_by_label", "_labels_searchable_idx"]
BY_ID = ["using job_pkey on job", "_id_idx on finished_"]


async def plan(connection: asyncpg.Connection, wanted: dict[str, Any], *, few: bool) -> str:
    """The plan of what `asyncjobs.find` executes, with its settings."""
    condition = await connection.fetchval("select asyncjobs.condition($1::json)", json.dumps(wanted))
    select = f"select id, error, labels from asyncjobs.job_status where {condition}"
    if few:
        select = f"with found as materialized ({select}) select * from found"
    async with connection.transaction():
        await connection.execute("set local enable_seqscan = off; set local jit = off")
        rows = await connection.fetch(f"explain (costs off) {select} order by id desc limit 100")
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize(
    ("wanted", "few", "expected"),
    [
        ({"labels": ["t:a"]}, True, BY_LABEL),
        ({"labels": ["t:a", "m:b=c"], "kinds": ["k"], "queue": "q"}, True, BY_LABEL),
        ({"searchable": [["user_id=42", 'user_id="42"']]}, True, BY_LABEL),
        ({"searchable": [["user_id=42"], ["code=1"]], "labels": ["t:a"], "arguments": {"n": [1]}}, True, BY_LABEL),
        ({}, False, BY_ID),
        ({"kinds": ["k"], "error": "x"}, False, BY_ID),
        ({"states": [5], "older_than": 60, "error": "x"}, False, ["_id_idx1"]),
        ({"states": [4, 5]}, False, ["_id_idx on finished_"]),
    ],
)
async def test_on_empty_tables_that_were_never_analysed(
    connection: asyncpg.Connection, wanted: dict[str, Any], few: bool, expected: list[str]
) -> None:
    found = await plan(connection, wanted, few=few)
    for part in expected:
        assert part in found, found
    assert "Seq Scan" not in found, found
    assert ("job_" in found) is ("states" not in wanted), found  # no live job is in these states


async def test_a_condition_quotes_whatever_it_is_given(connection: asyncpg.Connection) -> None:
    odd = "'; drop table asyncjobs.job; -- %s \\ \" $1"
    wanted = {
        "kinds": [odd], "queue": odd, "labels": [odd], "searchable": [[odd]], "arguments": {odd: [odd]}, "error": odd
    }  # fmt: skip
    assert await reading.list_jobs(connection, json.dumps(wanted), 10) == []
    assert await reading.count_jobs(connection, json.dumps(wanted), 10) == 0


FILL = """
insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, finished_at, attempt, priority, state, crashes, kind, queue,
                                args, labels, searchable)
select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - $1::integer + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid, n, current_date + n % 7, now(), now(), 1, 0,
       case when n % 50 = 0 then 5 else 4 end, 0, 'k', 'q', '{}',
       case when n % 333333 = 0 then array['t:rare', 't:common'] when n % 2 = 0 then array['t:common'] end,
       case when n % 2 = 0 then array['user_id=' || n % 100000] end
from generate_series(1, $1::integer) as n
"""


@pytest.mark.slow
async def test_with_a_million_finished_jobs_a_page_is_read_in_a_tenth_of_a_second(
    own_connection: asyncpg.Connection,
) -> None:
    await own_connection.execute("set search_path = pg_catalog")
    await own_connection.execute(FILL, 1_000_000)
    await own_connection.execute("vacuum analyze")
    took = {}
    for name, wanted, many in (
        ("rare", {"labels": ["t:rare"]}, 3),
        ("common", {"labels": ["t:common"]}, 100),
        ("argument", {"searchable": [["user_id=42"]]}, 10),
        ("both", {"searchable": [["user_id=42"]], "labels": ["t:common"], "kinds": ["k"]}, 10),
    ):
        text, best = json.dumps(wanted), 9.0
        for _ in range(3):
            began = time.perf_counter()
            assert len(await reading.list_jobs(own_connection, text, 100)) == many
            best = min(best, time.perf_counter() - began)
        took[name] = best
    assert max(took.values()) < 0.1, took


async def test_no_statement_has_to_put_much_in_its_place_in_the_index(connection: asyncpg.Connection) -> None:
    rows = await connection.fetch(
        "select c.reloptions from pg_class c join pg_am a on a.oid = c.relam where a.amname = 'gin' "
        "and c.relnamespace = 'asyncjobs'::regnamespace"
    )
    assert len(rows) > 2  # partitions have theirs, and new ones, too
    assert {tuple(row["reloptions"]) for row in rows} == {("gin_pending_list_limit=128",)}
