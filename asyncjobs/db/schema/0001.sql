-- The schema of asyncjobs. Only core PostgreSQL (13 and later); no extensions. Its functions are in ../functions.
--
-- job       live jobs only, so that it stays small however long the history is
-- finished  final jobs, partitioned by the day they may go, so that history is dropped and never vacuumed
-- step      what is recorded of the steps of live jobs; of finished ones it is in finished.steps
-- event     what was emitted and nobody has waited for yet
-- worker    one row a running process: its lease
--
-- States: 0 scheduled, 1 ready, 2 running, 3 waiting; 4 succeeded, 5 failed, 6 discarded, 7 cancelled.
-- Arguments, results and errors are JSON text, not jsonb: one outcome that jsonb refuses would take its batch with it,
-- and text is 10 to 20 % faster.
-- Of each table, what is never null and of fixed width comes first: it is read without a look at what comes before.

create sequence asyncjobs.ready_seq;    -- cache 1: with more, sessions hand out blocks and the order is lost
create sequence asyncjobs.fence_seq;

create table asyncjobs.job (
  id uuid primary key,                                              -- made by the client; identity, never order
  seq bigint not null default nextval('asyncjobs.ready_seq'),       -- taken anew at each becoming ready
  fence bigint not null default 0,                                  -- taken in the claim; 0 when not running
  run_at timestamptz not null default clock_timestamp(),            -- infinity: it waits, for as long as that takes
  enqueued_at timestamptz not null default clock_timestamp(),
  attempt integer not null default 0,
  priority smallint not null default 0,                             -- smaller runs first
  state smallint not null default 1,
  crashes smallint not null default 0,
  spared smallint not null default 0,                               -- deaths in a row that were not charged
  awaited boolean not null default false,                           -- somebody waits: tell them when it is final
  woken boolean not null default false,                             -- an event came between the start of its wait and its parking
  apart boolean not null default false,                             -- a running one: in a process of its own, which dies with its worker
  together smallint,                                                -- a suspect: at most so many share a process; null: any number
  started_at timestamptz,                                           -- of the current attempt
  expires_at timestamptz,                                           -- not started by then, it is discarded
  worker uuid,                                                      -- whose lease it runs under
  waits_fence bigint,                                               -- of the attempt in which waits_for and waits_timed hold
  kind text not null,
  queue text not null default 'default',
  args text not null default '{}',
  errors text,                                                      -- one JSON object a line, oldest first
  counts text,                                                      -- JSON: how often each declaration has taken an error of it
  progress text,                                                    -- JSON of its attributes; null: nothing was recorded, no step either
  cancel_reason text,                                               -- asked to be cancelled while it ran; never started again
  waits_for uuid[],                                                 -- jobs that it awaits, as long as it takes
  waits_timed uuid[],                                               -- with a timeout, which ends every cycle by itself
  -- One constraint, and short: PostgreSQL parses the stored text of each at every statement (4 to 5 us a term; seven of
  -- them cost a single-row insert a fifth). What SQL callers give is checked in asyncjobs.check_jobs instead.
  constraint job_is_sane check (state between 0 and 3 and octet_length(args) <= 16777216)
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0.02);
-- fillfactor: a third of the updates that record steps or that somebody waits then find room on the row's page, and write no
-- index (5 % without): 15 % less work and 10 % less log for a record, and no difference where nothing is recorded.
create index job_for_claim on asyncjobs.job (queue, priority, seq) where state = 1;
-- Waiting jobs whose time is over are promoted like scheduled ones.
create index job_for_promotion on asyncjobs.job (run_at) where state in (0, 3);
create index job_for_rescue on asyncjobs.job (worker) where state = 2;
create index job_for_cancel on asyncjobs.job (worker) where state = 2 and cancel_reason is not null;
-- A job that has crashed once is claimed like any other; from the second crash on it is a suspect until it is final.
create index job_for_suspects on asyncjobs.job (queue, priority, seq) where state = 1 and crashes > 1;

create table asyncjobs.finished (
  id uuid not null,
  fence bigint not null,                    -- of its last attempt: tells a repeated write from a lost lease
  enqueued_at timestamptz not null,
  finished_at timestamptz not null default clock_timestamp(),
  expires_on date not null,                 -- the UTC day on which it may be dropped
  attempt integer not null,
  priority smallint not null,
  state smallint not null,
  crashes smallint not null,
  started_at timestamptz,
  kind text not null,
  queue text not null,
  args text not null,
  result text,
  errors text,
  reason text,                              -- of discarded and cancelled
  progress text,
  steps text                                -- its rows of step, as a JSON array in their order
) partition by range (expires_on);
create index finished_by_id on asyncjobs.finished (id);
-- What is retried and discarded by hand is looked for in the order of the ids, among the few that did not succeed.
create index finished_unsucceeded on asyncjobs.finished (id) where state > 4;
-- What ended lately is counted by it, in a third of the time among two million; it takes 20 kB a day.
create index finished_by_time on asyncjobs.finished using brin (finished_at);
-- A published table takes no update and no delete without one; both are rare in the history: what is done by hand.
alter table asyncjobs.finished replica identity full;

create table asyncjobs.step (
  job uuid not null,
  n integer not null,                                 -- in the order in which they were met, from 1
  attempt integer not null,
  started_at timestamptz not null,
  finished_at timestamptz,
  wakes_at timestamptz,                               -- sleeping, waiting: until then; null: as long as it takes
  name text not null,
  state text not null,                                -- started running succeeded skipped handled failed sleeping waiting timed_out
  event text,                                         -- waiting: what for
  key text,
  result text,                                        -- JSON of what it returned, or of the event's payload
  cursor text,                                        -- JSON of how far it got
  error text,                                         -- handled: one JSON object
  -- JSON of what a step runs, which tells such a step from others, whatever its state is (`running` until all have ended):
  -- {"jobs": [{"id": …, "kind": …, "of": fingerprint of kind and arguments, "state": how it ended, "result": …}, …],
  --  "enqueued": whether all were, "detached": whether they are left alone when the parent is cancelled,
  --  "raised": the attempt in which the step has failed because some did not succeed}
  children text,
  primary key (job, name)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
create index step_for_emit on asyncjobs.step (event, key) where state = 'waiting';

create table asyncjobs.event (
  id bigint generated always as identity primary key,
  emitted_at timestamptz not null default clock_timestamp(),
  name text not null,
  key text not null,                                  -- '': none
  payload text,                                       -- JSON
  -- The limits of asyncjobs.emit, for whoever may write the table.
  constraint event_is_sane check (length(name) <= 200 and length(key) <= 200 and octet_length(payload) <= 16777216)
);
create index event_for_wait on asyncjobs.event (name, key, id);

-- Empty: a row is here while the event it names is locked, and only for those that want the same lock. It needs no log.
create unlogged table asyncjobs.event_lock (
  name text not null,
  key text not null,
  primary key (name, key)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

create table asyncjobs.worker (
  id uuid primary key,                      -- random at each boot: host names and pids come again
  backend_pid integer not null,             -- the keeper's own session, whose end says that the process is gone
  lease interval not null,
  started_at timestamptz not null default clock_timestamp(),
  beat_at timestamptz not null default clock_timestamp(),
  linked_at timestamptz not null default clock_timestamp(),   -- since when its link has been whole
  spared boolean not null default false,    -- it was ended from outside: no job is to blame
  backend_start timestamptz,
  dead_at timestamptz,
  host text not null default '',
  about text not null default '{}',         -- JSON: host, pid, version, pools
  report text not null default '{}',        -- JSON: what goes on there, as of its last beat
  ended text                                -- how its process ended, where that was seen: SIGKILL, code 1
);

-- Kinds that a login may enqueue. A login without a row here may enqueue every kind. It holds for those who enqueue by the
-- functions, as the role asyncjobs_enqueuer does; whoever may write the tables writes what he likes.
create table asyncjobs.allowed_kind (
  login name not null constraint login_is_a_role check (to_regrole(quote_ident(login)) is not null),
  kind text not null,
  primary key (login, kind)
);
