"""The migrations as one script, with the same bookkeeping as `asyncjobs db migrate`: for any tool, or for psql."""

from __future__ import annotations

from asyncjobs.db import migrating
from asyncjobs.db.connecting import SEARCH_PATH

_HEAD = """\
-- The schema of asyncjobs{after}. It applies what is missing and may be run again.
"""

# One statement: drivers that prepare what they are given (asyncpg, under Alembic too) take no more at once.
_BEGIN = """\
do $asyncjobs$
declare
  waited_for_locks text := pg_catalog.current_setting('lock_timeout');
  looked_in text := pg_catalog.current_setting('search_path');
begin
perform pg_catalog.set_config('search_path', '{path}', true);
{first}
{lock};
perform set_config('lock_timeout', '1s', true);
"""

_REQUIRED = """\
if not exists (select from asyncjobs.migration where number = {number}) then
  raise exception 'migration {number} of asyncjobs is not applied here: apply it first';
end if;"""

_MIGRATION = """
if not exists (select from asyncjobs.migration where number = {number}) then
execute $migration$
{text}
$migration$;
insert into asyncjobs.migration (number, name, checksum) values ({number}, '{name}', '{checksum}');
{revoked};
end if;
"""

_END = """
perform asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + 10);
perform set_config('lock_timeout', waited_for_locks, true);
perform set_config('search_path', looked_in, true);
end
$asyncjobs$;
"""

_PSQL_BEGIN = """\
\\set ON_ERROR_STOP on
set search_path = {path};
do $$ begin {first} end $$;
"""

_PSQL_MIGRATION = """
begin;
{lock};
select not exists (select from asyncjobs.migration where number = {number}) as asyncjobs_missing \\gset
\\if :asyncjobs_missing
set local lock_timeout = '1s';
{text}
insert into asyncjobs.migration (number, name, checksum) values ({number}, '{name}', '{checksum}');
{revoked};
\\endif
commit;
"""

_PSQL_END = """
select asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + 10);
reset search_path;
"""

PSQL_STOPS = "\\set ON_ERROR_STOP on\n"


def script(*, after: int = 0, psql: bool = False) -> str:
    """Return the script.

    Args:
        after: Only the migrations that come after this one, which must have been applied.
        psql: For psql alone, each migration in a transaction of its own; else for every tool, all in one statement.
    """
    wanted = [step for step in migrating.known() if step.number > after]
    head = _HEAD.format(after=f", what comes after migration {after}" if after else "")
    if not wanted:
        return f"{head}-- There is nothing after it.\n"
    first = _REQUIRED.format(number=after) if after else migrating.BOOTSTRAP_BODY.strip()
    begin, each, end = (_PSQL_BEGIN, _PSQL_MIGRATION, _PSQL_END) if psql else (_BEGIN, _MIGRATION, _END)
    steps = [
        each.format(
            number=step.number, name=step.name, checksum=step.checksum, text=step.text.strip(), lock=migrating.LOCK,
            revoked=migrating.REVOKED,
        )
        for step in wanted
    ]  # fmt: skip
    return "".join([head, begin.format(lock=migrating.LOCK, first=first, path=SEARCH_PATH), *steps, end])
