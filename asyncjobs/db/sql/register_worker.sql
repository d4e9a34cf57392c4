-- Register this process as a worker; its lease begins.
-- $1 worker  $2 lease in seconds  $3 about (JSON text)  $4 host
-- Rows: one; the session's pid and start.
insert into asyncjobs.worker (id, backend_pid, backend_start, lease, about, host)
values ($1::uuid, pg_backend_pid(),
        (select backend_start from pg_stat_activity where pid = pg_backend_pid()),
        make_interval(secs => $2::float8), $3::text, $4::text)
returning backend_pid, backend_start
