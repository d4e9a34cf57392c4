-- The sessions whose transactions a session waits for, without those that wait themselves: of a line, the one at its head.
-- $1 pid of the session  $2 number of sessions, at most
-- Rows: pid (null: a prepared transaction, which no session has), application, login, state, since when its transaction is open
-- (null in these two where this login may not see them), and the table for whose lock the session waits, null: for a row.
-- None: it does not wait.
with recursive blocking as (
  select first.pid, 1 as way from unnest(pg_blocking_pids($1::integer)) as first(pid)
  union
  select next.pid, blocking.way + 1
  from blocking cross join lateral unnest(pg_blocking_pids(blocking.pid)) as next(pid)
  where blocking.way < 10
)
select distinct nullif(blocking.pid, 0) as pid, activity.application_name as application, activity.usename as login, activity.state,
       activity.xact_start as since,
       (select locks.relation::regclass::text from pg_catalog.pg_locks as locks
        where locks.pid = $1::integer and not locks.granted and locks.locktype = 'relation' limit 1) as whole
from blocking left join pg_catalog.pg_stat_activity as activity on activity.pid = blocking.pid
where cardinality(pg_blocking_pids(blocking.pid)) = 0
order by since nulls last, pid
limit $2::integer
