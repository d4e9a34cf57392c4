-- The end of a claim that counts the starts of jobs under rates. It follows `claimed`, which is the claim with three more columns.
-- It has no parameters of its own.
-- Rows: as claim.sql's. No notice is sent: the worker that starts the jobs looks itself.
noted as (
  insert into asyncjobs.limit_note (key, started_at)
  select key, started_at from claimed, unnest(limit_keys) as keys(key) where limit_kind > 1
)
select pool, range, priority, seq, id, fence, attempt, kind, queue, args, crashes, counts, refused, progress, limited, batch, tick,
       waited, labels, apart, together
from claimed
