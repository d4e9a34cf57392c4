-- Emit an event.
-- $1 name  $2 key  $3 payload (JSON text)
-- Rows: one; how many waiting jobs it wakes.
select asyncjobs.emit($1::text, $2::text, $3::text::json)
