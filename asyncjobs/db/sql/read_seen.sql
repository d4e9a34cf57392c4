-- Whether there are jobs of a kind and in a queue, live or finished.
-- $1 kind, or null  $2 queue, or null
-- Rows: one; true for null. For a kind without jobs everything is read: the caller's statement_timeout bounds it.
select $1::text is null or exists (select from asyncjobs.job where kind = $1::text)
         or exists (select from asyncjobs.finished where kind = $1::text) as kind,
       $2::text is null or exists (select from asyncjobs.job where queue = $2::text)
         or exists (select from asyncjobs.finished where queue = $2::text) as queue
