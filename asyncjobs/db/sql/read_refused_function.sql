-- A function of ours that this login may not execute.
-- $1 names
-- Rows: none or one; its name.
select proname from pg_proc
where pronamespace = to_regnamespace('asyncjobs') and proname = any($1::text[]) and not has_function_privilege(oid, 'execute')
order by 1 limit 1
