-- One thing that was done by hand.
-- $1 id
select id, at, ended_at, jobs, who, action, scope, subject, detail from asyncjobs.audit where id = $1::bigint
