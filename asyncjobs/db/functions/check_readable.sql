-- Refuse JSON that a job could not read, or would read as another value: numbers past what a float or 64 bits hold, NUL, half
-- of a surrogate pair, what is nested deeper than 200 levels, and more than 1 MiB.
-- what: the argument's name.
-- Most texts hold nothing of that, which a quick check shows.
create or replace function asyncjobs.check_readable(given text, what text) returns void
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  deep boolean := length(given) - length(translate(given, '[{', '')) > 200;
  number text;
begin
  if octet_length(given) > 1048576 then
    raise exception '% must have at most 1048576 bytes of JSON, not %: store what is large elsewhere, and give its key',
                    what, octet_length(given) using errcode = '22023';
  end if;
  if given ~ '[0-9]{17}|[0-9][eE]' then
    for number in
      select (regexp_matches(regexp_replace(given, '"(\\.|[^"\\])*"', '""', 'g'),
                             '-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?', 'g'))[1]
    loop
      if number !~ '^-?[0-9]+$' then
        begin
          perform number::double precision;
        exception when numeric_value_out_of_range then
          raise exception '% holds the number %, which no float holds: give it as text', what, left(number, 40)
            using errcode = '22023';
        end;
      elsif length(number) > 20 or number::numeric not between -9223372036854775808 and 18446744073709551615 then
        raise exception '% holds the integer %, which is past 64 bits: give it as text', what, left(number, 40)
          using errcode = '22023';
      end if;
    end loop;
  end if;
  if deep or given ~ '\\u(0000|[dD][89a-fA-F])' then
    begin
      deep := jsonb_path_exists(given::jsonb, 'strict $.**{201}');
    exception
      when untranslatable_character or invalid_text_representation then
        raise exception '% holds a NUL or half of a surrogate pair: leave it out', what using errcode = '22023';
      when statement_too_complex then
        deep := true;
    end;
    if deep then
      raise exception '% is nested deeper than 200 levels: give a flatter value', what using errcode = '22023';
    end if;
  end if;
end
$$;
