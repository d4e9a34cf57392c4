-- Make scheduled jobs ready whose time has come, and waiting ones whose time is over, oldest first.
-- $1 number of jobs, at most
-- Rows: one; how many, and the seconds until the next one is due (null: none is scheduled).
-- Locks: the promoted rows, SKIP LOCKED. Index: job_for_promotion, down to now: `select`, because the bare clock may change
-- from row to row and so bounds no index (87 ms a look at 200,000 sleeping jobs, against 0.2).
with due as materialized (
  select ctid from asyncjobs.job
  where state in (0, 3) and run_at <= (select clock_timestamp())
  order by run_at limit $1::integer for no key update skip locked
), promoted as (
  update asyncjobs.job set state = 1, seq = nextval('asyncjobs.ready_seq')
  from due where job.ctid = due.ctid
  returning job.queue, job.seq
), told as (
  select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from promoted group by queue
)
select (select count(*) from promoted) as promoted, (select count(*) from told) as told,
       (select extract(epoch from run_at - clock_timestamp())::float8 from asyncjobs.job
        where state in (0, 3) and run_at > (select clock_timestamp()) and run_at < 'infinity' order by run_at limit 1) as next_due
