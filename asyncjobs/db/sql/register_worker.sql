-- Register this process as a worker; its lease begins.
-- $1 worker  $2 lease in seconds  $3 about (JSON text)  $4 host  $5 whether this session is the worker's own
-- $6 whether it is quiet: it was told so under another id
-- Rows: one; the session's pid and start, 0 and null behind a pooler in transaction mode.
insert into asyncjobs.worker (id, backend_pid, backend_start, lease, about, host, quiet)
values ($1::uuid, case when $5::boolean then pg_backend_pid() else 0 end,
        (select backend_start from pg_stat_get_activity(pg_backend_pid()) where $5::boolean),
        make_interval(secs => $2::float8), $3::text, $4::text, $6::boolean)
returning backend_pid, backend_start
