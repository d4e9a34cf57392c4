-- The number of jobs that match; see asyncjobs.count. $1 what is wanted (JSON)  $2 the number at which to stop
-- Rows: one.
select asyncjobs.count($1::text::json, $2::integer)
