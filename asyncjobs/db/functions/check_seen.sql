-- Refuse to enqueue a job whose id was enqueued before, or may have been, where nobody can see what became of it.
-- Above READ COMMITTED a statement sees what there was when the transaction began: a job that is not there may have been
-- enqueued and finished since, and would run twice.
-- Security definer: an enqueuer has no right on the tables.
create or replace function asyncjobs.check_seen(id uuid) returns void
language plpgsql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  level text := current_setting('transaction_isolation');
begin
  if level in ('repeatable read', 'serializable')
     and not exists (select from asyncjobs.job where job.id = check_seen.id)
     and not exists (select from asyncjobs.finished where finished.id = check_seen.id) then
    raise exception 'id % was enqueued before or is your own, and in a % transaction nobody can see whether its job has '
                    'finished since that began: enqueue it in a READ COMMITTED transaction', check_seen.id, upper(level)
      using errcode = '40001';
  end if;
end
$$;
