-- The lock that settles a wait against an emit of the same event; until the end of the transaction.
-- A row that is inserted and removed has others that insert the same one wait until this transaction has ended, and leaves nothing.
-- It is no advisory lock, since any login of the database can take one.
-- Security definer: a role that works or emits needs no right on the table, and no other has one.
create or replace function asyncjobs.lock_event(name text, key text) returns void
language sql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  insert into asyncjobs.event_lock (name, key) values (lock_event.name, lock_event.key);
  delete from asyncjobs.event_lock where event_lock.name = lock_event.name and event_lock.key = lock_event.key;
$$;
