-- Enqueue one job of a kind that this process need not know, by the SQL function.
-- $1 kind  $2 args (JSON text)  $3 queue  $4 priority  $5 due at, or null  $6 due in so many seconds, or null
-- $7 tags, or null  $8 meta (JSON text), or null
-- Rows: one; the id.
select asyncjobs.enqueue(kind => $1::text, args => $2::text::json, queue => $3::text, priority => $4::integer,
                         run_at => coalesce($5::timestamptz, clock_timestamp() + make_interval(secs => $6::float8)),
                         tags => $7::text[], meta => $8::text::jsonb) as id
