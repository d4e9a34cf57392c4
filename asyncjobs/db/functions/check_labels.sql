-- Refuse labels and searchable arguments of one job that are too many or too long: each is a key of an index, which takes 2,700 bytes.
-- What Python calls check by name before; these are the limits for whoever calls the functions.
create or replace function asyncjobs.check_labels(labels text[], searchable text[]) returns void
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  if cardinality(check_labels.labels) > 50 or cardinality(check_labels.searchable) > 50 then
    raise exception 'a job has at most 20 tags, 20 entries of meta and 50 searchable arguments' using errcode = '22023';
  elsif exists (select from unnest(check_labels.labels) as l(one)
                where one is null or one !~ '^(t:.|m:[^=]+=)' or length(one) > case when one like 't:%' then 102 else 603 end) then
    raise exception 'labels must be t: and a tag of 1 to 100 characters, or m: and key=value of 1 to 100 and at most 500 characters'
      using errcode = '22023';
  elsif exists (select from unnest(check_labels.searchable) as s(one)
                where one is null or one !~ '^[^=]+=.' or length(one) > 256) then
    raise exception 'searchable arguments must be name=JSON, of at most 256 characters' using errcode = '22023';
  end if;
end
$$;
