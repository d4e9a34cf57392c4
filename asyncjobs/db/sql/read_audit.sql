-- What was done by hand, the newest first.
-- $1 scope, or null: anything  $2 subject  $3 ids below this one, or null  $4 number of rows, at most
-- Index: audit_pkey backwards, or a stretch of audit_of_subject.
(select id, at, ended_at, jobs, who, action, scope, subject, detail
 from asyncjobs.audit where $1::text is null and id < coalesce($3::bigint, 9223372036854775807)
 order by id desc limit $4::integer)
union all
(select id, at, ended_at, jobs, who, action, scope, subject, detail
 from asyncjobs.audit where scope = $1::text and subject = $2::text and id < coalesce($3::bigint, 9223372036854775807)
 order by id desc limit $4::integer)
