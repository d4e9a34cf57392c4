-- The floor's tables: those of asyncjobs in shape, with the indexes that a claim, a promotion and a rescue need.

create schema floor;
create sequence floor.ready_seq;
create sequence floor.fence_seq;

create table floor.job (
  id uuid primary key,
  seq bigint not null default nextval('floor.ready_seq'),
  fence bigint not null default 0,
  run_at timestamptz not null default clock_timestamp(),
  enqueued_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  worker uuid,
  batch uuid,
  priority smallint not null default 0,
  state smallint not null default 1 check (state between 0 and 3),
  held smallint not null default 0,
  attempt smallint not null default 0,
  crashes smallint not null default 0,
  awaited boolean not null default false,
  kind text not null,
  queue text not null,
  args text not null check (octet_length(args) <= 16777216),
  progress text
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0.02);
create index job_for_claim on floor.job (queue, priority, seq) where state = 1 and held = 0;
create index job_for_promotion on floor.job (run_at) where state = 0;
create index job_for_rescue on floor.job (worker) where state = 2;

create table floor.finished (
  id uuid not null,
  fence bigint not null,
  expires_on date not null,
  enqueued_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz not null,
  batch uuid,
  priority smallint not null,
  state smallint not null,
  attempt smallint not null,
  kind text not null,
  queue text not null,
  args text not null,
  result text,
  error text,
  steps text
) partition by range (expires_on);
create index on floor.finished (id);

do $$
begin
  for n in 0..9 loop
    execute format('create table floor.finished_%s partition of floor.finished for values from (%L) to (%L)',
                   n, current_date + n, current_date + n + 1);
  end loop;
end
$$;
