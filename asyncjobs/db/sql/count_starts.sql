-- The end of a claim that counts the starts of jobs under rates: what follows `claimed`, in which the claim stands with three columns
-- more. No parameters of its own.
-- Rows: as claim.sql's. Nobody is told: who has started them looks.
noted as (
  insert into asyncjobs.limit_note (key, started_at)
  select key, started_at from claimed, unnest(limit_keys) as keys(key) where limit_kind > 1
)
select pool, range, priority, seq, id, fence, attempt, kind, queue, args, crashes, counts, refused, progress, limited, batch, tick
from claimed
