-- Enqueue one job that is due now and whose id is new, for roles that may not write the table.
-- quietly: without a notice. Fails if the id exists already.
-- Locks: the new row.
create or replace function asyncjobs.enqueue_row(
  id uuid, kind text, queue text, priority smallint, args text, quietly boolean
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  made bigint;
begin
  perform asyncjobs.check_jobs(enqueue_row.kind, enqueue_row.queue, enqueue_row.priority, octet_length(enqueue_row.args), null, null);
  insert into asyncjobs.job (id, kind, queue, priority, args)
  values (enqueue_row.id, enqueue_row.kind, enqueue_row.queue, enqueue_row.priority, enqueue_row.args)
  returning seq into made;
  if not enqueue_row.quietly then
    perform pg_notify('asyncjobs_ready', made || ' ' || left(enqueue_row.queue, 64));
  end if;
end
$$;
