-- Facts about the server, for workers and `doctor`.
-- Rows: one. `address` is null on a Unix socket.
select current_setting('server_version') as version,
       current_setting('server_version_num')::integer / 10000 as major,
       pg_encoding_to_char((select encoding from pg_database where datname = current_database())) as encoding,
       current_database()::text as database,
       current_user::text as role,
       pg_is_in_recovery() as standby,
       current_setting('transaction_read_only') = 'on' as read_only,
       current_setting('synchronous_commit') as synchronous_commit,
       host(inet_server_addr()) as address,
       coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false) as tls,
       (select version from pg_stat_ssl where pid = pg_backend_pid()) as tls_version,
       extract(epoch from clock_timestamp())::float8 as clock
