"""A database with jobs of every sort, to try the dashboard, to draw its pictures, and to look at plans.

`python -m tests.support.mixed_jobs URL [finished [ready]]`: 80,000 and 20,000 unless said otherwise; the database is migrated first.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import asyncpg

from asyncjobs import migrate

KINDS = ("shop.mail.send_receipt", "shop.orders.charge_card", "shop.images.make_thumbnails", "shop.reports.daily_report",
         "shop.search.index_product", "shop.imports.import_customers")  # fmt: skip
QUEUES = ("mailers", "payments", "images", "reports", "default", "imports")

_ERRORS = (
    ("shop.orders.CardDeclined", "card was declined: insufficient funds", "shop/orders.py", 84),
    ("builtins.TimeoutError", "no answer from smtp.example.com within 10 s", "shop/mail.py", 41),
    ("builtins.KeyError", "'width'", "shop/images.py", 127),
    ("shop.search.IndexGone", "index products-v3 does not exist", "shop/search.py", 19),
)

_ID = """(lpad(to_hex((extract(epoch from {at}) * 1000)::bigint), 12, '0') || '7' || substr(md5({n}::text || {salt}), 1, 3)
          || '8' || substr(md5({n}::text || {salt}), 4, 15))::uuid"""

FINISHED = f"""
insert into asyncjobs.finished (id, fence, enqueued_at, finished_at, expires_on, attempt, priority, state, crashes, started_at, kind,
                                queue, args, result, errors, reason)
select {_ID.format(at="at", n="n", salt="'f'")}, n, at, least(at + make_interval(secs => 1 + n % 40), clock_timestamp()),
       (at + interval '7 days')::date + 1, 1 + (n % 29 = 0)::int, 0, state, 0, at + make_interval(secs => 0.2 + n % 40 / 5.0),
       ($2::text[])[1 + n % 6], ($3::text[])[1 + n % 6], '{{"customer_id": ' || n || ', "locale": "fr"}}',
       case when state = 4 then '{{"sent": true, "bytes": ' || n % 9000 || '}}' end,
       case when state in (5, 6) then
         replace(replace(($4::text[])[1 + n % 4], 'AT', to_char(at + make_interval(secs => 1 + n % 40), 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')),
                 'BEGUN', to_char(at + make_interval(secs => 0.2 + n % 40 / 5.0), 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')) end,
       case state when 6 then 'the customer is gone' when 7 then 'asked by support' end
from (select n, clock_timestamp() - make_interval(secs => 30 + 86400.0 * 6 * power(n::float8 / $1, 2)) as at,
             (case when n % 97 = 0 then 5 when n % 211 = 0 then 6 when n % 307 = 0 then 7 else 4 end)::smallint as state
      from generate_series(1, $1::integer) as n) as made
"""
LIVE = f"""
insert into asyncjobs.job (id, run_at, enqueued_at, attempt, priority, state, started_at, kind, queue, args, errors)
select {_ID.format(at="at", n="n", salt="'l'")},
       case state when 0 then clock_timestamp() + make_interval(secs => n % 90000) when 3 then 'infinity' else at end,
       at, (errors is not null)::int * 2, (n % 3)::smallint, state, case when errors is not null then at + interval '2 s' end,
       ($2::text[])[1 + n % 6], ($3::text[])[1 + n % 6], '{{"customer_id": ' || n || '}}', errors
from (select n, at, state, case when state = 0 and n % 4 = 0
                                then replace(replace(($4::text[])[1 + n % 4], 'AT', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')),
                                             'BEGUN', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')) end as errors
      from (select n, clock_timestamp() - make_interval(secs => 5 + 900.0 * n / $1) as at,
                   (case when n % 13 = 0 then 0 when n % 171 = 0 then 3 else 1 end)::smallint as state
            from generate_series(1, $1::integer) as n) as given) as made
"""


def _error(at: str, kind: str, message: str, file: str, line: int, *, started_at: str = "BEGUN") -> str:
    frames = (
        f'  File "/srv/{file}", line {line}, in perform\n    await self._deliver(order)\n'
        f'  File "/srv/{file}", line {line + 12}, in _deliver\n    raise {kind.rpartition(".")[2]}\n'
    )
    text = f"Traceback (most recent call last):\n{frames}{kind.rpartition('.')[2]}: {message}\n"
    ran = {"started_at": started_at, "worker": "web-2, pid 977"}
    return json.dumps({"attempt": 1, "at": at, "type": kind, "message": message, "traceback": text, **ran})


async def fill(url: str, *, finished: int = 80_000, ready: int = 20_000) -> None:
    """Fill a migrated database: jobs of all states, workers, schedules, batches, a pause, and steps of one job."""
    connection = await asyncpg.connect(url)
    try:
        errors = [_error("AT", *error) for error in _ERRORS]
        await connection.execute("select asyncjobs.make_partitions(current_date + 10)")
        if finished:
            await connection.execute(_with(FINISHED, finished, errors))
        if ready:
            await connection.execute(_with(LIVE, ready, errors))
        await _fill_around(connection)
        await connection.execute("vacuum analyze asyncjobs.job")
        await connection.execute("vacuum analyze asyncjobs.finished")
    finally:
        await connection.close()


def _with(statement: str, number: int, errors: list[str]) -> str:
    """Return a statement with literals: so it is planned for them, and has no limit of time."""

    def array(texts: Iterable[object]) -> str:
        return "array[" + ", ".join("'" + str(text).replace("'", "''") + "'" for text in texts) + "]"

    for name, text in (("$1", str(number)), ("$2", array(KINDS)), ("$3", array(QUEUES)), ("$4", array(errors))):
        statement = statement.replace(name, text)
    return statement


async def _fill_around(connection: asyncpg.Connection) -> None:
    """Add what stands around the jobs."""
    workers = (("web-1", 4211, False), ("web-2", 977, False), ("batch-1", 35, True))
    for n, (host, pid, blocks) in enumerate(workers):
        pools = [{"queues": ["payments", "mailers"], "concurrency": 10}, {"queues": ["*"], "concurrency": 20}]
        about = {"host": host, "pid": pid, "version": "0.1.0", "pools": pools, "kinds": list(KINDS)}
        report = {"draining": False, "stuck": [], "claims_nothing": "", "left_out": [], "blocked": {}}
        if blocks:
            place = "/srv/shop/images.py:127 in make_thumbnails"
            report["blocked"] = {KINDS[2]: {"count": 14, "longest": 3.7, "place": place}}
        report["lag"] = 0.7 if blocks else 0.002
        # In buckets: see asyncjobs/worker/watching/waits.py.
        report["waits"] = {queue: {8 + 6 * k + n: 900, 16 + 6 * k: 60} for k, queue in enumerate(QUEUES[:5])}
        worker = await connection.fetchval(
            "insert into asyncjobs.worker (id, backend_pid, lease, about, report, host, started_at) "
            "values (gen_random_uuid(), 0, interval '1 day', $1, $2, $3, clock_timestamp() - $4 * interval '3 hours') returning id",
            json.dumps(about), json.dumps(report), host, n + 1,
        )  # fmt: skip
        await connection.execute(
            "update asyncjobs.job set state = 2, worker = $1, fence = 7, attempt = 1, "
            "started_at = clock_timestamp() - interval '4 s', unique_until = null "
            "where id in (select id from asyncjobs.job where state = 1 order by id limit $2)", worker, 7 + 5 * n,
        )  # fmt: skip
    for name, schedule, kind in (
        ("daily report", "0 6 * * *", KINDS[3]), ("clean carts", "every 10 minutes", KINDS[4]), ("nightly import", "30 2 * * 1-5", KINDS[5]),
    ):  # fmt: skip
        await connection.execute(
            "insert into asyncjobs.recurring (name, kind, queue, schedule, timezone, next_at, seen_until, declared) "
            "values ($1, $2, 'reports', $3, 'Europe/Paris', clock_timestamp() + interval '37 minutes', clock_timestamp(), 'code')",
            name, kind, schedule,
        )  # fmt: skip
    await connection.execute(
        "insert into asyncjobs.pause (scope, name, until, reason, paused_by) "
        "values ('queue', 'imports', clock_timestamp() + interval '2 hours', 'their API is down', 'dana')"
    )
    await _fill_batches(connection)
    await _fill_steps(connection)


async def _fill_batches(connection: asyncpg.Connection) -> None:
    for description, settled, share in (("Thumbnails of July", False, 400), ("Receipts of a re-run", True, 150)):
        batch = await connection.fetchval(
            "insert into asyncjobs.batch (id, description, settled, finished_at) "
            "values (asyncjobs.new_id(), $1, $2, case when $2 then clock_timestamp() end) returning id", description, settled,
        )  # fmt: skip
        await connection.execute(
            "update asyncjobs.finished set batch = $1 where id in (select id from asyncjobs.finished where batch is null order by id desc limit $2)",
            batch, share,
        )  # fmt: skip
        if not settled:
            await connection.execute(
                "update asyncjobs.job set batch = $1 where id in (select id from asyncjobs.job order by id desc limit 60)",
                batch,
            )


async def _fill_steps(connection: asyncpg.Connection) -> None:
    """Add a running import with steps, newer than all others."""
    now = datetime.now(UTC)
    job = await connection.fetchval(
        "insert into asyncjobs.job (id, kind, queue, args, state, attempt, started_at, enqueued_at, worker, fence, progress) "
        "select asyncjobs.new_id(), $1, 'imports', $2, 2, 2, clock_timestamp() - interval '95 s', clock_timestamp() - interval '140 s', id, 9, $3 "
        "from asyncjobs.worker order by started_at limit 1 returning id",
        KINDS[5], json.dumps({"file": "customers-2026-11.csv", "dry_run": False, "columns": ["id", "name", "email", "country"]}),
        json.dumps({"rows": 18_200, "skipped": 12}),
    )  # fmt: skip
    if job is None:
        return
    await connection.execute(
        "update asyncjobs.job set errors = $2 where id = $1", job,
        _error((now - timedelta(seconds=100)).isoformat(), *_ERRORS[1], started_at=(now - timedelta(seconds=132)).isoformat()),
    )  # fmt: skip
    for n, (name, state, begun, took, cursor) in enumerate(
        (
            ("fetch", "succeeded", 132, 9, None),
            ("check", "succeeded", 123, 21, None),
            ("insert rows", "started", 95, None, 18_200),
        ),
        1,
    ):
        await connection.execute(
            "insert into asyncjobs.step (job, n, attempt, started_at, finished_at, name, state, cursor, result) values ($1,$2,$3,$4,$5,$6,$7,$8,$9)",
            job, n, 1 if n < 3 else 2, now - timedelta(seconds=begun), None if took is None else now - timedelta(seconds=begun - took), name, state,
            None if cursor is None else json.dumps(cursor), None if took is None else json.dumps({"rows": 25_000}),
        )  # fmt: skip


async def main() -> None:
    """Migrate and fill the database of the first argument."""
    url, *numbers = sys.argv[1:]
    await migrate(url)
    await fill(url, **dict(zip(("finished", "ready"), map(int, numbers), strict=False)))


if __name__ == "__main__":
    asyncio.run(main())
