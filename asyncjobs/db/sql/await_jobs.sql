-- Ask to be told when jobs become final.
-- $1 ids, ascending
-- Rows: the ids that are live. Those missing are in finished, or nowhere.
-- Locks: the rows, in the order of their ids, for as short as can be: a row locked here is skipped by a claim, so the
-- commit does not wait for the disk. A flag lost in a crash costs one round of the slow poll.
with quick as materialized (select set_config('synchronous_commit', 'off', true)),
given as materialized (select id from quick, unnest($1::uuid[]) as g(id))
update asyncjobs.job set awaited = true from given where job.id = given.id returning job.id
