-- A time for clients: one out of their range, written by hand, as the nearest within it.
-- Without a search_path of its own, with which it could not be inlined into the calling statement; it names no other thing.
create or replace function asyncjobs.shown(at timestamptz) returns timestamptz
language sql immutable parallel safe
as $$
  select case when at is not null then least(greatest(at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end
$$;
