-- A time as a client is shown it: one that was written by hand and that no client holds, as the nearest that all do.
-- Without a search_path of its own, which would keep it from being part of the statement that calls it: it names nothing.
create or replace function asyncjobs.shown(at timestamptz) returns timestamptz
language sql immutable parallel safe
as $$
  select case when at is not null then least(greatest(at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end
$$;
