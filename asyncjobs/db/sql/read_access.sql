-- Whether this role may enqueue and await by the tables; else it uses functions that have the owner's rights.
-- Rows: one.
select has_table_privilege('asyncjobs.job', 'insert') and has_table_privilege('asyncjobs.job', 'update')
       and has_table_privilege('asyncjobs.job', 'select') and has_table_privilege('asyncjobs.finished', 'select')
       and has_sequence_privilege('asyncjobs.ready_seq', 'usage') as by_tables
