-- One argument of a job; null: there is none of that name, or the text is none that PostgreSQL can read: whoever may enqueue by
-- the functions may have stored anything, and a search reads the arguments of all jobs.
create or replace function asyncjobs.argument(args text, name text) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  return (argument.args::json -> argument.name)::jsonb;
exception
  when data_exception or statement_too_complex then
    return null;
end
$$;
