-- A condition: whether the functions are to be written here. Not over those of a later version, or of one that cannot be told;
-- else where they are others than those recorded, or some are gone.
-- In braces: newest, the number of the newest migration known; checksum; version, its numbers with commas; names of the
-- functions with commas, and count of them.
not exists (
  select from asyncjobs.migration
  where number > {newest}
     or number = 0 and coalesce(regexp_match(release, '^([0-9]+)[.]([0-9]+)[.]([0-9]+)')::integer[] > array[{version}], true)
     or number = 0 and checksum = '{checksum}' and {count} = (
          select count(distinct proname) from pg_proc
          where pronamespace = to_regnamespace('asyncjobs') and proname = any(string_to_array('{names}', ',')))
)
