-- The labels of a job: its tags, each as t:tag, and its meta, each as m:key=value. Null: it has none.
-- meta: a JSON object of texts.
create or replace function asyncjobs.labels(meta jsonb, tags text[]) returns text[]
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  wrong text;
begin
  if jsonb_typeof(labels.meta) <> 'object' then
    raise exception 'meta must be a JSON object of texts, not %', jsonb_typeof(labels.meta) using errcode = '22023';
  end if;
  select m.key into wrong from jsonb_each(labels.meta) as m(key, value)
  where jsonb_typeof(m.value) <> 'string' or length(m.value #>> '{}') > 500 or length(m.key) not between 1 and 100
     or strpos(m.key, '=') > 0
  limit 1;
  if found then
    raise exception 'meta %: a key has 1 to 100 characters and no =, a value is a text of at most 500 characters', left(wrong, 120)
      using errcode = '22023';
  end if;
  select t.tag into wrong from unnest(labels.tags) as t(tag) where t.tag is null or length(t.tag) not between 1 and 100 limit 1;
  if found then
    raise exception 'a tag has 1 to 100 characters, and % has not', coalesce(left(wrong, 120), 'null') using errcode = '22023';
  elsif (select count(*) from jsonb_object_keys(labels.meta)) > 20 or cardinality(labels.tags) > 20 then
    raise exception 'a job has at most 20 tags and 20 entries of meta' using errcode = '22023';
  end if;
  return nullif(array(select 't:' || t.tag from unnest(labels.tags) as t(tag) group by t.tag order by t.tag)
                || array(select 'm:' || m.key || '=' || m.value from jsonb_each_text(labels.meta) as m(key, value) order by m.key), '{}');
end
$$;
