"""A database with what is open on it, for tests of which nothing is to be left to the next.

A database, a worker and the first plans of each session cost a test 0.2 s of a core; most jobs cost a hundredth of that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, AsyncExitStack
from typing import Any, Self

import asyncpg

from asyncjobs import AsyncJobs
from asyncjobs.db.connecting import connect
from asyncjobs.definitions import registry
from asyncjobs.jobs.ordering import all_rules
from asyncjobs.performing import open_clients
from tests.support.asking import until
from tests.support.processes import until_so

PATIENCE = 10.0
"""Seconds for what a test has left running to end; after that the next test is given a database and a worker anew."""
TABLES = """
select format('delete from asyncjobs.%I', relname) from pg_class
where relnamespace = 'asyncjobs'::regnamespace and relkind in ('r', 'p') and not relispartition
  and relname not in ('migration', 'worker', 'pause')
"""
EMPTY = """
create schema of_tests;
create function of_tests.empty() returns void language plpgsql as $$
begin
  {deletes};
  delete from asyncjobs.pause;
  if found then
    perform pg_notify('asyncjobs_pauses', '');
  end if;
  delete from asyncjobs.worker as w where dead_at is not null or not exists
    (select from pg_stat_activity where pid = w.backend_pid and application_name = 'asyncjobs keeper');
end $$
"""
"""A function, whose session plans its statements once: that takes two of the three milliseconds."""
LEFT = """
select exists (select from asyncjobs.job where state = 2),
  array(select format('drop table public.%I', relname)
        from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r')
"""
"""Whether anything runs; and the tables of the test's own."""
STRANGERS = """
from pg_stat_activity
where datname = current_database() and application_name not like 'asyncjobs%' and pid <> all (array{}::integer[])
"""
"""Sessions that are neither those of a client or a worker nor ours."""
AT_THE_BEGINNING = """
select setval(seqrelid::regclass, seqstart, false) from pg_sequence
where seqrelid in (select oid from pg_class where relnamespace = 'asyncjobs'::regnamespace)
"""
"""For what happens each so many numbers of a sequence."""
OTHERS = "delete from asyncjobs.job where state <> 2"
STATE = """
select md5(string_agg(concat(oid, ' ', version), ' ' order by oid)), pg_relation_size('asyncjobs.job') < 1000000
from (
  select oid, xmin as version from pg_proc where oid >= 16384
  union all select oid, xmin from pg_trigger where oid >= 16384 and not tgisinternal
  union all select oid, xmin from pg_class where oid >= 16384 and relnamespace = 'asyncjobs'::regnamespace
    and not relispartition and relkind in ('r', 'p', 'v', 'i', 'S')
  union all select oid, xmin from pg_namespace where nspname = 'asyncjobs'
  union all select number::oid, xmin from asyncjobs.migration
  union all select oid, xmin from pg_publication
  union all select setrole, xmin from pg_db_role_setting
    where setdatabase = (select oid from pg_database where datname = current_database())
) as what
"""
"""Other where a function, trigger, table, right or setting is, or where so much is dead in a table that it is slower than a new one."""


def _heeded_at_start() -> list[Any]:
    """What a worker takes from the kinds it knows when it starts, and does not look at again."""
    known = registry.all_definitions()
    return [all_rules(known), *((d.kind, d.options) for d in known if d.options.schedule or d.options.retention)]


class Lasting:
    """A migrated database with a plain connection, a client or a worker, made when it is first used.

    Args:
        make_database: The database; gives its URL.
        make_jobs: The client, from the URL; None: there is none.
        works: Whether that works, too.
    """

    url: str
    connection: asyncpg.Connection
    """With the settings of its role."""
    jobs: AsyncJobs

    def __init__(
        self,
        make_database: Callable[[], AbstractContextManager[str]],
        make_jobs: Callable[[str], AsyncJobs] | None = None,
        *,
        works: bool = False,
    ) -> None:
        self._make_database = make_database
        self._make_jobs = make_jobs
        self._works = works
        self._open: AsyncExitStack | None = None
        self._others: dict[str, asyncpg.Connection] = {}

    @property
    def client(self) -> AsyncJobs:
        """The same as `jobs`."""
        return self.jobs

    async def opened(self) -> Self:
        """Open it if it is not open, and make its client the one that jobs use on this loop."""
        if self._open is None:
            async with AsyncExitStack() as stack:
                database = self._make_database()  # on a loop of its own, so not in this thread
                self.url = await asyncio.to_thread(database.__enter__)
                stack.push_async_callback(asyncio.to_thread, database.__exit__, None, None, None)
                self.connection = await connect(self.url, is_lent=True)
                stack.callback(self.connection.terminate)
                deletes = [row[0] for row in await self.connection.fetch(TABLES)]
                await self.connection.execute(EMPTY.format(deletes=";".join(deletes)))
                self._state = await self.connection.fetchrow(STATE)
                if self._make_jobs is not None:
                    jobs = self._make_jobs(self.url)
                    self.jobs = await stack.enter_async_context(jobs.running() if self._works else jobs)
                self._heeded = _heeded_at_start()
                self._open = stack.pop_all()
        if self._make_jobs is not None:
            open_clients.remove(self.jobs._client())  # where it has just been opened
            open_clients.push(self.jobs._client())
        return self

    async def another(self, name: str, open_on: Callable[[str], Awaitable[asyncpg.Connection]]) -> asyncpg.Connection:
        """One more connection that is kept, by its name; a test that leaves a transaction on it ends it all."""
        assert self._open is not None
        if name not in self._others:
            self._others[name] = await open_on(self.url)
            self._open.callback(lambda: self._others.pop(name).terminate())
        return self._others[name]

    async def begin_module(self) -> None:
        """End what another module's tests have left open; its worker, if it works, says that it knows the kinds of now.

        Where that must start for these, it begins anew.
        """
        if self._open is None:
            return
        kept = [each.get_server_pid() for each in (self.connection, *self._others.values())]
        await self.connection.execute(f"select pg_terminate_backend(pid) {STRANGERS.format(kept)}")
        await until(self.connection, f"select not exists (select {STRANGERS.format(kept)})")
        if not self._works:  # a worker remembers how far they were
            await self.connection.execute(AT_THE_BEGINNING)
        else:
            worker = self.jobs._worker
            if worker is None or worker.parts.job_processes.forking.is_up or self._heeded != _heeded_at_start():
                await self.close()
            else:
                await self.connection.execute("update asyncjobs.worker set about = $1", worker._report.about())

    async def emptied(self) -> None:
        """End what a test has left running and remove its rows and its tables; where that cannot be done, begin anew."""
        if self._make_jobs is not None:
            open_clients.remove(self.jobs._client())
        try:
            async with asyncio.timeout(PATIENCE):
                await self.connection.reset()
                runs, drops = await self.connection.fetchrow(LEFT)
                if runs and self._works:
                    await self._end_all()
                await self.connection.execute(";".join(["select of_tests.empty(); discard temp", *drops]))
                is_whole = await self.connection.fetchrow(STATE) == self._state
        except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            is_whole = False
        if not is_whole or any(each.is_closed() or each.is_in_transaction() for each in self._others.values()):
            await self.close()

    async def _end_all(self) -> None:
        worker = self.jobs._worker
        await self.connection.execute(OTHERS)
        for row in await self.connection.fetch("select id from asyncjobs.job"):
            await self.jobs.cancel(row["id"], reason="its test is over")
        await until_so(lambda: worker is None or not worker.running)

    async def close(self) -> None:
        """Close what is open, and drop the database."""
        stack, self._open = self._open, None
        if stack is not None:
            await stack.aclose()
