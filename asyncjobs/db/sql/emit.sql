-- Emit an event.
-- $1 name  $2 key  $3 payload (JSON text)
-- Rows: one; how many jobs wait no more.
select asyncjobs.emit($1::text, $2::text, $3::text::json)
