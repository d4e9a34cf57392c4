-- The numbers of connections that this login may have, by each of the server's limits.
-- Rows: one; null: no such limit. A superuser has only the server's.
select (select case when rolsuper or rolconnlimit < 0 then null else rolconnlimit end
        from pg_roles where rolname = session_user) as of_role,
       (select case when datconnlimit < 0 or (select rolsuper from pg_roles where rolname = session_user) then null
               else datconnlimit end
        from pg_database where datname = current_database()) as of_database,
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
         - coalesce(current_setting('reserved_connections', true), '0')::integer as of_server
