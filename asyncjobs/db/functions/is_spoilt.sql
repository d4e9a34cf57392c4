-- Whether a job of a batch or of its parts has ended and not succeeded, nor has by a retry since.
create or replace function asyncjobs.is_spoilt(id uuid) returns boolean
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  return exists (select from asyncjobs.finished where finished.batch = is_spoilt.id and finished.state > 4)
         or exists (select from asyncjobs.batch where batch.id = is_spoilt.id and batch.gone[2] + batch.gone[3] + batch.gone[4] > 0)
         or exists (select from asyncjobs.batch where batch.parent = is_spoilt.id and batch.discarded_at is not null
                                                  and batch.succeeded_at is null);
end
$$;
