-- Return JSON text as json, or refuse it by name.
-- what: the argument's name.
create or replace function asyncjobs.as_json(given text, what text) returns json
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  return given::json;
exception
  when invalid_text_representation then
    raise exception '% is no JSON; text stands in double quotes in it', what using errcode = '22023';
  when statement_too_complex then
    raise exception '% is nested deeper than 200 levels: give a flatter value', what using errcode = '22023';
end
$$;
