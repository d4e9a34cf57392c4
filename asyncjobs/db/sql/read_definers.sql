-- Functions of ours that run with their owner's rights and give too many of these away: everybody may execute one, or a
-- superuser owns it.
-- Rows: one an owner, with the names of functions that everybody may execute; none if all is well.
with definers as (
  select rolname, rolsuper, proname::text as name,
         proacl is null or exists (select from aclexplode(proacl) as given
                                   where given.grantee = 0 and given.privilege_type = 'EXECUTE') as everybodys
  from pg_proc join pg_roles on pg_roles.oid = proowner
  where pronamespace = 'asyncjobs'::regnamespace and prosecdef
)
select quote_ident(rolname) as owner, coalesce(array_agg(distinct name) filter (where everybodys), '{}') as everybodys,
       rolsuper as is_superuser
from definers where everybodys or rolsuper
group by rolname, rolsuper
order by rolname
