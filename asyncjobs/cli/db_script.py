"""The migrations as one script for psql, with the same bookkeeping as `asyncjobs db migrate`."""

from __future__ import annotations

from asyncjobs.db import migrating

_HEAD = """\
-- The schema of asyncjobs, for psql. It applies what is missing and may be run again.
\\set ON_ERROR_STOP on
select pg_advisory_lock({lock});
{bootstrap}
"""

_MIGRATION = """
select not exists (select from asyncjobs.migration where number = {number}) as asyncjobs_missing \\gset
\\if :asyncjobs_missing
begin;
set local lock_timeout = '1s';
{text}
insert into asyncjobs.migration (number, name, checksum) values ({number}, '{name}', '{checksum}');
commit;
\\endif
"""

_TAIL = """
select asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + 10);
select pg_advisory_unlock({lock});
"""


def script() -> str:
    """Return the script."""
    steps = [
        _MIGRATION.format(number=step.number, name=step.name, checksum=step.checksum, text=step.text.strip())
        for step in migrating.known()
    ]
    head = _HEAD.format(lock=migrating._LOCK, bootstrap=migrating._BOOTSTRAP.strip())
    return "".join([head, *steps, _TAIL.format(lock=migrating._LOCK)])
