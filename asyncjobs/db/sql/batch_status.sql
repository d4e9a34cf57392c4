-- The status of a batch; see asyncjobs.batch_status.
-- $1 id
-- Rows: none or one.
select id, parent, description, settled, made_at, discarded_at, finished_at, succeeded_at, by_state
from asyncjobs.batch_status($1::uuid)
