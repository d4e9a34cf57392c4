-- The rights of this role.
-- Rows: one.
select has_function_privilege('asyncjobs.enqueue(text, json, text, integer, timestamptz, uuid, text, jsonb, text[], text[])', 'execute')
         and has_function_privilege('asyncjobs.ended(uuid[])', 'execute') as enqueue,
       has_table_privilege('asyncjobs.job', 'select') and has_table_privilege('asyncjobs.job', 'update')
         and has_table_privilege('asyncjobs.job', 'delete') and has_table_privilege('asyncjobs.worker', 'insert')
         and has_table_privilege('asyncjobs.worker', 'update') and has_table_privilege('asyncjobs.finished', 'insert')
         and has_sequence_privilege('asyncjobs.fence_seq', 'usage')
         and has_sequence_privilege('asyncjobs.ready_seq', 'select')
         and has_function_privilege('asyncjobs.make_partitions(date)', 'execute') as work,
       has_table_privilege('asyncjobs.worker', 'select') and has_any_column_privilege('asyncjobs.job', 'select')
         and has_any_column_privilege('asyncjobs.finished', 'select') as look,
       pg_has_role((select nspowner from pg_namespace where nspname = 'asyncjobs'), 'usage') as own
