-- After a crash: which deaths are charged to a job, and how suspects are kept apart.

alter table asyncjobs.job
  add column apart boolean not null default false,     -- of a running one: in a process of its own, which dies with its worker
  add column together smallint,                        -- of a suspect: at most so many share a process; null: any number
  add column spared smallint not null default 0;       -- deaths in a row that were not charged
-- A job that has crashed once is claimed like any other; from the second crash on it is a suspect until it is final.
drop index asyncjobs.job_for_suspects;
create index job_for_suspects on asyncjobs.job (queue, priority, seq) where state = 1 and crashes > 1;

alter table asyncjobs.worker
  add column spared boolean not null default false;    -- it was ended from outside: no job is to blame
