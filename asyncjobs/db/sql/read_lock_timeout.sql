-- Rows: one; the lock_timeout that the role or the database has set for this session ('0': none).
select current_setting('lock_timeout') as lock_timeout
