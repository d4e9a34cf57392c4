-- Enqueue the jobs that follow the success of others, in the transaction that has just moved these to the history.
-- fences: of the attempts that have ended; givens: for each a JSON array of texts for asyncjobs.enqueue_given; a text with several
-- jobs is a chain, and enqueued as a whole. For a job that did not succeed (it was asked to be cancelled meanwhile), or has another
-- fence, nothing is enqueued.
-- Returns how many of these texts were refused, since another job has one of their unique keys.
-- Sent again after a lost answer it makes nothing twice: the ids are the same.
-- Locks: as asyncjobs.enqueue_ordered.
create or replace function asyncjobs.enqueue_then(ids uuid[], fences bigint[], givens text[]) returns integer
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  one record;
  part text;
  is_chain boolean;
  refused integer := 0;
begin
  for one in
    select g.given
    from unnest(enqueue_then.ids, enqueue_then.fences, enqueue_then.givens) as g(id, fence, given)
    where exists (
      select from asyncjobs.finished where finished.id = g.id and finished.fence = g.fence and finished.state = 4 offset 0
    )
    order by g.id
  loop
    for part in select value from json_array_elements_text(one.given::json) as all_parts(value) loop
      is_chain := json_array_length(part::json) > 1;
      if exists (select from json_array_elements(asyncjobs.enqueue_given(part, is_chain)::json) as made
                 where case when is_chain then made->>1 not in ('enqueued', 'there') else made->>1 = 'taken' end) then
        refused := refused + 1;
      end if;
    end loop;
  end loop;
  return refused;
end
$$;
