-- Note an action that begins.
-- $1 who  $2 action  $3 scope  $4 subject  $5 detail
-- Rows: its id.
insert into asyncjobs.audit (who, action, scope, subject, detail) values ($1::text, $2::text, $3::text, $4::text, $5::text)
returning id
