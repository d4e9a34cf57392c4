-- Refuse too many ids in one call.
create or replace function asyncjobs.check_ids(ids uuid[]) returns void
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  if cardinality(ids) > 10000 then
    raise exception 'ids must be at most 10000 at once, not %', cardinality(ids) using errcode = '22023';
  end if;
end
$$;
