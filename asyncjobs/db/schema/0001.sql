-- The schema of asyncjobs. Only core PostgreSQL (13 and later); no extensions. Its functions are in ../functions.
--
-- job       live jobs only, so that it stays small however long the history is
-- finished  final jobs, partitioned by the day they may go, so that history is dropped and never vacuumed
-- step      what is recorded of the steps of live jobs; of finished ones it is in finished.steps
-- live_job  one row a job that shows something while it runs: its progress, and that it has a stream
-- stream_item  what jobs have sent to their streams
-- event     what was emitted and nobody has waited for yet
-- worker    one row a running process: its lease
-- batch     one row a batch of jobs
-- link      what is to begin when a job has ended: the next of a chain, the newer one of a key
-- limits    what each limit and rate allows
-- limit_key one row a key of a limit: its lock, and its token bucket
-- limit_note  keys at which something has changed, so that more may be let pass
-- limit_pass  what has passed the first of several limits, and not all
-- recurring       what is enqueued again and again, and when
-- recurring_tick  one row a time of a schedule that was decided about: the last ones
-- recurring_version  what versions of the code have declared recurring jobs, and since when each is there
-- unique_window  what was enqueued lately under a key that is unique for a time
-- pause     queues and kinds of which nothing is started
-- queue_figures  one row: the numbers of jobs in the queues, as they were counted last, for metrics
-- audit     what was done by hand in the dashboard: who, when, with what
--
-- States: 0 scheduled, 1 ready, 2 running, 3 waiting; 4 succeeded, 5 failed, 6 discarded, 7 cancelled.
-- Arguments, results and errors are JSON text, not jsonb: one outcome that jsonb refuses would take its batch with it,
-- and text is 10 to 20 % faster.
-- Of each table, what is never null and of fixed width comes first: it is read without a look at what comes before.

create sequence asyncjobs.ready_seq;    -- cache 1: with more, sessions hand out blocks and the order is lost
create sequence asyncjobs.fence_seq;

-- The bounds of a live job, whoever writes its row. They are domains, since PostgreSQL parses the stored text of a table's
-- constraint at every statement: both as constraints took 12 of 67 us of an insert, and take 4 so. What else SQL callers give is
-- checked in asyncjobs.check_jobs.
create domain asyncjobs.live_state as smallint constraint state_is_live check (value between 0 and 3);
create domain asyncjobs.arguments as text constraint arguments_are_sane check (octet_length(value) <= 16777216);

create table asyncjobs.job (
  id uuid primary key,                                              -- made by the client; identity, never order
  seq bigint not null default nextval('asyncjobs.ready_seq'),       -- taken anew at each becoming ready
  fence bigint not null default 0,                                  -- taken in the claim; 0 when not running
  run_at timestamptz not null default clock_timestamp(),            -- infinity: it waits, for as long as that takes
  enqueued_at timestamptz not null default clock_timestamp(),
  attempt integer not null default 0,
  priority smallint not null default 0,                             -- smaller runs first
  state asyncjobs.live_state not null default 1,
  crashes smallint not null default 0,
  spared smallint not null default 0,                               -- deaths in a row that were not charged
  awaited boolean not null default false,                           -- somebody waits: tell them when it is final
  followed boolean not null default false,                          -- rows of asyncjobs.link wait for its end
  woken boolean not null default false,                             -- an event came between the start of its wait and its parking
  apart boolean not null default false,                             -- a running one: in a process of its own, which dies with its worker
  together smallint,                                                -- a suspect: at most so many share a process; null: any number
  started_at timestamptz,                                           -- of the current attempt
  expires_at timestamptz,                                           -- not started by then, it is discarded
  worker uuid,                                                      -- whose lease it runs under
  waits_fence bigint,                                               -- of the attempt in which waits_for and waits_timed hold
  kind text not null,
  queue text not null default 'default',
  args asyncjobs.arguments not null default '{}',
  errors text,                                                      -- one JSON object a line, oldest first
  counts text,                                                      -- JSON: how often each declaration has taken an error of it
  progress text,                                                    -- JSON of its attributes; null: nothing was recorded, no step either
  cancel_reason text,                                               -- asked to be cancelled while it ran; never started again
  waits_for uuid[],                                                 -- jobs that it awaits, as long as it takes
  waits_timed uuid[],                                               -- with a timeout, which ends every cycle by itself
  batch uuid,                                                       -- of which it is one
  tick timestamptz,                                                 -- of a schedule, which has enqueued it: its time
  unique_key text,                                                  -- no other live job has it
  unique_until smallint,                                            -- 0: until it is final, 1: it starts, 2: it is parked; -1 - that: it is over
  limit_key text,                                                   -- at which it waits, or has passed last; null: no limit
  limit_keys text[],                                                -- all, in the order in which they are passed
  limit_kind smallint,                                              -- 1: they bound how many run, 2: how many start, 3: both
  -- The seq with which it was let pass all of them. Whatever makes it ready again takes a new seq, and so has it wait again:
  -- no statement needs to know of limits. -1: it runs, and has given its places back while it waits; null then: it wants them.
  admitted bigint,
  labels text[],                                                    -- its tags and meta: t:import, m:source=api; null: none
  searchable text[]                                                 -- arguments by which it is found: user_id=42; null: none
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0.02);
-- fillfactor: a third of the updates that record steps or that somebody waits then find room on the row's page, and write no
-- index (5 % without): 15 % less work and 10 % less log for a record, and no difference where nothing is recorded.
create index job_for_claim on asyncjobs.job (queue, priority, seq) where state = 1 and (limit_key is null or admitted = seq);
-- Waiting jobs whose time is over are promoted like scheduled ones.
create index job_for_promotion on asyncjobs.job (run_at) where state in (0, 3);
create index job_for_rescue on asyncjobs.job (worker) where state = 2;
create index job_for_cancel on asyncjobs.job (worker) where state = 2 and cancel_reason is not null;
-- A job that has crashed once is claimed like any other; from the second crash on it is a suspect until it is final.
create index job_for_suspects on asyncjobs.job (queue, priority, seq)
  where state = 1 and crashes > 1 and (limit_key is null or admitted = seq);
create unique index job_unique on asyncjobs.job (unique_key) where unique_until >= 0;
create index job_of_batch on asyncjobs.job (batch) where batch is not null;
-- Those under a limit, in order: 0 has passed it, 1 runs and wants its place back, 2 waits, 3 runs and has left its place. Whoever asks
-- writes the very expression.
create index job_for_limits on asyncjobs.job
  (limit_key, (case when admitted = seq then 0 when state = 1 then 2 when admitted is null then 1 else 3 end), priority, seq)
  where limit_key is not null and state in (1, 2);

-- Most jobs have neither, and are not in it: an insert of such a job pays for the look at the condition alone.
-- gin_pending_list_limit (kB): with the 4 MB that are usual one statement in some hundred, perhaps a claim, puts all of that in its
-- place: 0.9 s against 0.06; on average both take as long.
create index job_by_label on asyncjobs.job using gin (labels, searchable) with (gin_pending_list_limit = 128)
  where labels is not null or searchable is not null;

-- Those that wait at a limit, by queue: with job_for_claim, all that are ready there, as max_depth counts them.
create index job_at_limits on asyncjobs.job (queue) where state = 1 and limit_key is not null and admitted is distinct from seq;

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
  steps text,                               -- its rows of step, as a JSON array in their order
  batch uuid,
  tick timestamptz,
  unique_key text,
  unique_until smallint,
  limit_keys text[],
  limit_kind smallint,
  labels text[],
  searchable text[]
) partition by range (expires_on);
create index finished_by_id on asyncjobs.finished (id);
-- What is retried and discarded by hand is looked for in the order of the ids, among the few that did not succeed.
create index finished_unsucceeded on asyncjobs.finished (id) where state > 4;
-- What ended lately is counted by it, in a third of the time among two million; it takes 20 kB a day.
create index finished_by_time on asyncjobs.finished using brin (finished_at);
create index finished_of_batch on asyncjobs.finished (batch, state) where batch is not null;
create index finished_by_label on asyncjobs.finished using gin (labels, searchable) with (gin_pending_list_limit = 128)
  where labels is not null or searchable is not null;
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

-- Apart from asyncjobs.job: it is written up to five times a second, and a row of a job has 36 columns and ten indexes.
create table asyncjobs.live_job (
  job uuid primary key,
  done double precision,                              -- null: no progress was shown
  total double precision,                             -- null: not known
  shown_at timestamptz,
  gone boolean not null default false,                -- its job was dropped from the history
  note text
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
create index live_job_gone on asyncjobs.live_job (job) where gone;

create table asyncjobs.stream_item (
  job uuid not null,
  n bigint not null,                                  -- from 1, without gaps
  sent_at timestamptz not null,
  attempt integer not null,
  value text not null,                                -- JSON
  primary key (job, n)
) with (autovacuum_vacuum_insert_scale_factor = 0.05);

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
  quiet boolean not null default false,     -- told by hand to claim nothing
  backend_start timestamptz,
  dead_at timestamptz,
  host text not null default '',
  about text not null default '{}',         -- JSON: host, pid, version, pools
  report text not null default '{}',        -- JSON: what goes on there, as of its last beat
  ended text                                -- how its process ended, where that was seen: SIGKILL, code 1
);

create table asyncjobs.batch (
  id uuid primary key,
  parent uuid,                              -- the batch of which it is a part
  settled boolean not null default false,   -- all of it is final, and what was to follow that is enqueued; not so while one is retried
  made_at timestamptz not null default clock_timestamp(),
  discarded_at timestamptz,                 -- the first job of it ended otherwise than well
  finished_at timestamptz,                  -- all were final
  succeeded_at timestamptz,                 -- all had succeeded
  description text not null,
  on_discard text, on_finish text, on_success text,   -- what is to be enqueued, as asyncjobs.enqueue_given takes it
  -- Of its jobs whose rows were dropped from the history: how many had succeeded, failed, were discarded, cancelled.
  gone integer[] not null default '{0,0,0,0}'
);
create index batch_of_parent on asyncjobs.batch (parent) where parent is not null;
create index batch_open on asyncjobs.batch (id) where not settled;
create index batch_by_time on asyncjobs.batch (finished_at) where settled;

-- A job that begins when another has ended: scheduled for the end of time until then.
-- Of a chain it is kept while there are the jobs, so that it can be shown, and retried.
create table asyncjobs.link (
  job uuid primary key,
  after uuid not null,
  anyhow boolean not null default false,    -- however that ends: the newer one of a unique key; else when it succeeds: the next of a chain
  begun boolean not null default false,     -- it waits no more
  delay double precision,                   -- due in so many seconds from then
  run_at timestamptz,                       -- due then, if that is later
  expires_in double precision,              -- seconds after it is due by which it is started or discarded
  previous text                             -- in its arguments, the string that stands for the result of the one before
);
create index link_by_after on asyncjobs.link (after);

create table asyncjobs.limits (
  name text primary key,                    -- a kind or a shared key, with what tells its keys apart: app.jobs.sync(account_id)
  most integer,                             -- running at once, as the code says; null: any number
  spacing double precision,                 -- seconds between two starts; null: no rate
  burst integer,                            -- starts that may follow each other at once
  most_by_config integer,                   -- as a configuration says, in place of the code
  most_by_hand integer,                     -- set at run time, in place of both
  config_of text,                           -- most_by_config: whose configuration: the kind_prefix of the application
  said_at timestamptz not null default '-infinity', -- when the worker began whose word this is; -infinity: none has said anything
  -- The bounds of asyncjobs.check_limit, for whoever may write the table: one row beyond them fails the look at all limits.
  constraint limit_is_sane check (
    most between 0 and 1000000 and most_by_config between 0 and 1000000 and most_by_hand between 0 and 1000000
    and (spacing is null or coalesce(spacing >= 1e-9 and burst between 1 and 1000000 and spacing * burst <= 4e8, false)))
);

create table asyncjobs.limit_key (
  key text primary key,                     -- the name of its limit, and what tells it from others of that: app.jobs.sync(account_id) 7
  name text not null,
  most integer,                             -- of this key alone, set by hand
  -- Of a rate: when the next start would be due if each came at its time (GCRA's theoretical arrival time, ITU-T I.371).
  next_start timestamptz,
  look_at timestamptz,                      -- when somebody waits for a start: then it is due
  constraint limit_key_is_sane check (most between 0 and 1000000 and isfinite(next_start) and isfinite(look_at))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
create index limit_key_by_time on asyncjobs.limit_key (look_at) where look_at is not null;
create index limit_key_by_name on asyncjobs.limit_key (name);

-- Inserted only, by whatever makes a job ready or has one end: nobody waits for another's transaction.
create table asyncjobs.limit_note (
  n bigint generated always as identity primary key,
  key text not null,
  started_at timestamptz,                   -- of a job under a rate: a start to be counted
  not_before timestamptz                    -- of a rate: nothing starts before, as the other side has asked for
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
create index limit_note_by_key on asyncjobs.limit_note (key);

-- Of a job with several limits: those that it has passed while it waits at a further one, or runs. It holds with this seq only.
create table asyncjobs.limit_pass (
  key text not null,
  job uuid not null,
  seq bigint not null,
  primary key (key, job)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
create index limit_pass_of_job on asyncjobs.limit_pass (job);

create table asyncjobs.unique_window (
  key text primary key,
  job uuid not null,                        -- enqueued last under this key
  until timestamptz not null
);
create index unique_window_by_time on asyncjobs.unique_window (until);

-- What recurs. Its times are computed by the workers, from one to the next; whoever has the row locked, and finds it as he has read
-- it, decides about those that are over, in the transaction that enqueues for them.
create table asyncjobs.recurring (
  name text primary key,
  seen_until timestamptz not null default clock_timestamp(),  -- about its times until then was decided
  changed_at timestamptz not null default clock_timestamp(),
  revision bigint not null default 1,       -- raised by every change, and whenever something was decided
  expires_in double precision,              -- of its jobs, in seconds
  jitter double precision not null default 0,   -- seconds
  priority smallint not null default 0,
  enabled boolean not null default true,
  next_at timestamptz,                      -- when something is to be decided; null: never: it is paused, not enabled, or removed
  paused_at timestamptz,                    -- by hand
  removed_at timestamptz,                   -- its row stays for a while, for versions of the code that have it still
  kind text not null,
  queue text not null default 'default',
  args asyncjobs.arguments not null default '{}',
  job_order text,                           -- of its jobs, JSON as asyncjobs.enqueue_ordered takes it
  schedule text not null,
  timezone text not null default 'UTC',
  catch_up text not null default 'latest',
  overlap text not null default 'allow',
  declared text,                            -- config, code; null: it was made at run time
  scope text not null default '',           -- whose declarations: the kind_prefix of the application
  digest text not null default '',          -- of what is declared
  version text,                             -- of the code that has declared it so, or removed it
  trouble text,                             -- why nothing could be enqueued
  constraint recurring_is_sane check (length(name) between 1 and 300)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
create index recurring_by_time on asyncjobs.recurring (next_at) where next_at is not null;

create table asyncjobs.recurring_tick (
  name text not null,
  tick timestamptz not null,
  fired_at timestamptz not null default clock_timestamp(),
  job uuid,                                 -- enqueued for it; null: none was
  came_to text not null,                    -- enqueued, by hand, skipped, or what asyncjobs.enqueue_ordered said
  primary key (name, tick)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

create table asyncjobs.recurring_version (
  version text primary key,                 -- of everything that one worker declares
  said_at timestamptz not null default clock_timestamp()
);

-- A row whose time is over holds no more; whoever sees that deletes it.
create table asyncjobs.pause (
  scope text not null,                      -- queue or kind
  name text not null,                       -- of it, as it is stored
  since timestamptz not null default clock_timestamp(),
  until timestamptz,                        -- null: until somebody resumes it
  reason text not null default '',
  paused_by text not null default '',
  primary key (scope, name)
);

create table asyncjobs.queue_figures (
  one boolean primary key default true constraint one_row check (one),
  taken_at timestamptz not null,
  queues text not null                      -- JSON: [[queue, ready, scheduled, running, waiting, oldest], …]
) with (fillfactor = 50);

-- Kinds that a login may enqueue. A login without a row here may enqueue every kind. It holds for those who enqueue by the
-- functions, as the role asyncjobs_enqueuer does; whoever may write the tables writes what he likes.
create table asyncjobs.allowed_kind (
  login name not null constraint login_is_a_role check (to_regrole(quote_ident(login)) is not null),
  kind text not null,
  primary key (login, kind)
);

-- What was done in the dashboard; kept 90 days.
create table asyncjobs.audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,                     -- null: it is under way, or was cut short
  jobs bigint not null default 0,           -- how many it has changed so far
  who text not null,
  action text not null,                     -- retry, discard, cancel, pause, resume, run, quiet
  scope text not null,                      -- what it was done with: job, jobs, queue, kind, recurring, worker
  subject text not null,                    -- of that: an id, a name, or a filter in words
  detail text not null default ''           -- a reason, or what went wrong
);
create index audit_of_subject on asyncjobs.audit (scope, subject, id);
