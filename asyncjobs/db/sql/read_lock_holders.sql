-- The sessions whose transactions hold locks on things in our schema, the oldest first.
-- $1 number of sessions, at most
-- Rows: pid, application, login, state, since when its transaction is open (UTC), the first words of its last query: null in all
-- but the first if this login may not see them.
select activity.pid, activity.application_name as application, activity.usename as login, coalesce(activity.state, 'unseen') as state,
       coalesce(activity.xact_start at time zone 'UTC', clock_timestamp() at time zone 'UTC') as since,
       left(regexp_replace(coalesce(activity.query, ''), '[[:cntrl:][:space:]]+', ' ', 'g'), 80) as query
from pg_catalog.pg_stat_activity as activity
where activity.datname = current_database() and activity.pid <> pg_backend_pid()
  and exists (
    select from pg_catalog.pg_locks as locks
    join pg_catalog.pg_class as class on class.oid = locks.relation
    where locks.pid = activity.pid and locks.granted
      and locks.database = (select oid from pg_catalog.pg_database where datname = current_database())
      and class.relnamespace = to_regnamespace('asyncjobs')
  )
order by activity.xact_start nulls last, activity.pid
limit $1::integer
