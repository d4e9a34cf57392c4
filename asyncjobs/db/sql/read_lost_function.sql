-- A function or a view of ours that is missing.
-- $1 names
-- Rows: none or one; its name.
select wanted.name from unnest($1::text[]) as wanted(name)
where not exists (select from pg_proc where pronamespace = to_regnamespace('asyncjobs') and proname = wanted.name)
  and to_regclass('asyncjobs.' || wanted.name) is null
order by 1 limit 1
