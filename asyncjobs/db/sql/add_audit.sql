-- Note how far an action is.
-- $1 its id  $2 number of jobs that were changed since the last note  $3 whether it is over  $4 what went wrong, or null
-- Rows: none.
update asyncjobs.audit
set jobs = jobs + $2::bigint, ended_at = case when $3::boolean then clock_timestamp() end, detail = coalesce($4::text, detail)
where id = $1::bigint
