-- The next items of a job's stream: at most `most` of them, and of those that together exceed 8 MiB only the first ones, but one
-- at least. Rows: in their order. Index: stream_item_pkey, a stretch.
create or replace function asyncjobs.stream(job uuid, after bigint, most integer) returns table (
  n bigint, attempt integer, sent_at timestamptz, value text
)
language plpgsql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  return query
  select next.n, next.attempt, asyncjobs.shown(next.sent_at), next.value
  from (
    select i.n, i.attempt, i.sent_at, i.value,
           sum(octet_length(i.value)) over (order by i.n) - octet_length(i.value) as before
    from (
      select all_of.n, all_of.attempt, all_of.sent_at, all_of.value from asyncjobs.stream_item as all_of
      where all_of.job = stream.job and all_of.n > stream.after
      order by all_of.n limit least(stream.most, 10000)
    ) as i
  ) as next
  where next.before < 8388608
  order by next.n;
end
$$;
