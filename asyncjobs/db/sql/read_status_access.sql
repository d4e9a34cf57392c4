-- What this role may read of jobs: everything, and all but arguments.
-- Rows: one.
select has_column_privilege('asyncjobs.job_status', 'args', 'select') as arguments,
       has_column_privilege('asyncjobs.job_status', 'result', 'select') as results
