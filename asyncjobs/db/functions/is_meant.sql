-- Whether a row of asyncjobs.allowed_kind is meant for this login: it names the login, the role that it has set, or a role of which
-- that is a member. A superuser is a member of every role, and so no row is meant for it.
create or replace function asyncjobs.is_meant(login name) returns boolean
language sql stable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select is_meant.login = session_user or is_meant.login = acting.rolname
         or (not acting.rolsuper and exists (select from pg_roles where rolname = is_meant.login)
             and pg_has_role(acting.oid, is_meant.login, 'member'))
  from pg_roles as acting
  where acting.rolname = coalesce(nullif(current_setting('role'), 'none'), session_user)
$$;
