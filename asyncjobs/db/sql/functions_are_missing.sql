-- A condition: whether the functions are to be written here: they differ from the recorded ones, or some are gone. Not over
-- functions of a later or an unknown version.
-- In braces: newest, the number of the newest migration known; checksum; version, its numbers with commas; names of the
-- functions and views with commas.
not exists (
  select from asyncjobs.migration
  where number > {newest}
     or number = 0 and coalesce(regexp_match(release, '^([0-9]+)[.]([0-9]+)[.]([0-9]+)')::integer[] > array[{version}], true)
     or number = 0 and checksum = '{checksum}' and not exists (
          select from unnest(string_to_array('{names}', ',')) as wanted(name)
          where not exists (select from pg_proc where pronamespace = to_regnamespace('asyncjobs') and proname = wanted.name)
            and to_regclass('asyncjobs.' || wanted.name) is null)
)
