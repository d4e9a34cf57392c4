"""The migrations as one script, for any tool or for psql, which records what it applies as `asyncjobs db migrate` does."""

from __future__ import annotations

from asyncjobs.db import migrating, migration_files
from asyncjobs.db.connecting import SEARCH_PATH

_HEAD = """\
-- The schema of asyncjobs{after}. It applies what is missing and may be run again.
"""

# One statement: drivers that prepare their statements (asyncpg, under Alembic too) take no more at once.
_BEGIN = """\
do $asyncjobs$
declare
  waited_for_locks text := pg_catalog.current_setting('lock_timeout');
  looked_into text := pg_catalog.current_setting('check_function_bodies');
  looked_in text := pg_catalog.current_setting('search_path');
begin
perform pg_catalog.set_config('search_path', '{path}', true);
{first}
{lock};
perform set_config('lock_timeout', '1s', true);
{unchecked};
"""

_REQUIRED = """\
if not exists (select from asyncjobs.migration where number = {number}) then
  raise exception 'migration {number} of asyncjobs is not applied here: apply it first';
end if;"""

_MIGRATION = """
if {is_missing} then
execute $migration$
{text}
$migration$;
{record};
end if;
"""

_END = """
{revoked};
perform asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + 10);
perform set_config('check_function_bodies', looked_into, true);
perform set_config('lock_timeout', waited_for_locks, true);
perform set_config('search_path', looked_in, true);
end
$asyncjobs$;
"""

_PSQL_BEGIN = """\
\\set ON_ERROR_STOP on
set search_path = {path};
begin;
do $$ begin {first} end $$;
{lock};
set local lock_timeout = '1s';
{unchecked};
"""

_PSQL_MIGRATION = """
select {is_missing} as asyncjobs_missing \\gset
\\if :asyncjobs_missing
{text}
{record};
\\endif
"""

_PSQL_END = """
{revoked};
select asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + 10);
commit;
reset search_path;
"""

PSQL_STOPS = "\\set ON_ERROR_STOP on\n"


def script(*, after: int = 0, psql: bool = False) -> str:
    """Return the script, which is one transaction.

    Args:
        after: Number of a migration that must have been applied; the script has only those after it, and the functions.
        psql: Whether it is for psql, with its own commands; else it is one statement, for any tool.
    """
    wanted = [step for step in migration_files.known() if step.number > after]
    head = _HEAD.format(after=f", what comes after migration {after}" if after else "")
    first = _REQUIRED.format(number=after) if after else migrating.BOOTSTRAP_BODY.strip()
    first = f"{first}\n{migrating.REFUSE_UNRELEASED}"
    begin, each, end = (_PSQL_BEGIN, _PSQL_MIGRATION, _PSQL_END) if psql else (_BEGIN, _MIGRATION, _END)
    words = {
        "lock": migrating.LOCK, "first": first, "path": SEARCH_PATH, "unchecked": migrating.UNCHECKED,
        "revoked": migrating.REVOKED,
    }  # fmt: skip
    steps = [
        each.format(text=step.text.strip(), is_missing=step.is_missing, record=step.record)
        for step in (*wanted, migration_files.functions())
    ]
    return "".join([head, begin.format(**words), *steps, end.format(**words)])
