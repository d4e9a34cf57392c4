-- Whether this role enqueues and awaits at the tables themselves, or by functions that have the owner's rights.
-- Rows: one.
select has_table_privilege('asyncjobs.job', 'insert') and has_table_privilege('asyncjobs.job', 'update')
       and has_table_privilege('asyncjobs.job', 'select') and has_table_privilege('asyncjobs.finished', 'select')
       and has_sequence_privilege('asyncjobs.ready_seq', 'usage') as by_tables
