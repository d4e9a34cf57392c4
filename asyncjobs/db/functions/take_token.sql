-- Take the next token of a rate for the caller; returns the seconds until it is due, 0: it is due now.
-- key: shared by all callers of one bucket, and by the jobs whose rate has it.
-- Security definer: an enqueuer has no right on the tables.
-- Locks: the key; lock_timeout: short, since a caller's open transaction may keep it, and then whoever waits here keeps a connection.
create or replace function asyncjobs.take_token(key text, spacing double precision, burst integer) returns double precision
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '50ms'
as $$
#variable_conflict use_column
declare
  rule record;
  step interval;
  next timestamptz;
begin
  if length(take_token.key) not between 1 and 256 then
    raise exception 'key must have 1 to 256 characters, not %', length(take_token.key) using errcode = '22023';
  end if;
  perform asyncjobs.check_limit(split_part(take_token.key, ' ', 1), null, coalesce(take_token.spacing, 0), take_token.burst);
  select spacing, burst into rule from asyncjobs.limits where name = split_part(take_token.key, ' ', 1);
  if not found then
    insert into asyncjobs.limits (name, spacing, burst)
    values (split_part(take_token.key, ' ', 1), take_token.spacing, take_token.burst) on conflict do nothing;
  end if;
  -- A rate is the workers' to say: no caller takes more of it at once than a token, or puts one back.
  step := make_interval(secs => coalesce(rule.spacing, take_token.spacing));
  insert into asyncjobs.limit_key as known (key, name, next_start)
  values (take_token.key, split_part(take_token.key, ' ', 1), clock_timestamp() + step)
  on conflict (key) do update
  set next_start = least(greatest(known.next_start, clock_timestamp()) + step, clock_timestamp() + interval '1000 years')
  returning known.next_start into next;
  return greatest(extract(epoch from next - step * coalesce(rule.burst, take_token.burst) - clock_timestamp()), 0);
end
$$;
