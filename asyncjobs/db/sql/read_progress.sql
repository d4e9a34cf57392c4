-- The progress of jobs, and how many items their streams have. $1 ids  Rows: at most one an id, in no order.
select job, done, total, note, shown_at, items from asyncjobs.progress($1::uuid[])
