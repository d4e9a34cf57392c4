-- The minor version that each migration came with: a process takes a schema that is one minor version ahead of its own.

-- The first migration of each minor version sets this default to it.
alter table asyncjobs.migration add column release text not null default '0.1';
