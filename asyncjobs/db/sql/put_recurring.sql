-- Store a schedule, and notify the workers.
-- $1 name  $2 kind  $3 queue  $4 priority  $5 args  $6 order  $7 expires_in  $8 schedule  $9 timezone  $10 catch_up  $11 overlap
-- $12 jitter  $13 enabled  $14 declared  $15 scope  $16 digest  $17 version  $18 the time until which its ticks are done
-- with  $19 the time of its next tick
-- Rows: one.
-- Locks: the row.
with put as (
  insert into asyncjobs.recurring as known
    (name, kind, queue, priority, args, job_order, expires_in, schedule, timezone, catch_up, overlap, jitter, enabled, declared,
     scope, digest, version, seen_until, next_at)
  values ($1::text, $2::text, $3::text, $4::smallint, $5::text, $6::text, $7::float8, $8::text, $9::text, $10::text, $11::text,
          $12::float8, $13::boolean, $14::text, $15::text, $16::text, $17::text, $18::timestamptz, $19::timestamptz)
  on conflict (name) do update
  set kind = excluded.kind, queue = excluded.queue, priority = excluded.priority, args = excluded.args,
      job_order = excluded.job_order, expires_in = excluded.expires_in, schedule = excluded.schedule,
      timezone = excluded.timezone, catch_up = excluded.catch_up, overlap = excluded.overlap, jitter = excluded.jitter,
      enabled = excluded.enabled, declared = excluded.declared, scope = excluded.scope, digest = excluded.digest,
      version = excluded.version, seen_until = excluded.seen_until, next_at = excluded.next_at, removed_at = null,
      trouble = null, changed_at = clock_timestamp(), revision = known.revision + 1
  returning name
)
select put.name, pg_notify('asyncjobs_recurring', '') from put
