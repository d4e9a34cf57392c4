"""What runs jobs, assembled in `worker`.

The dispatcher claims, the executor runs attempts, the ledger writes how they ended::

claiming         which queues are looked at, when, and from where on
running          attempts, from their start to their end
slots            pools, and what may start in them
limits           which jobs are let pass
job_processes    attempts in processes of their own
writing          how attempts end, and what they record
lease            the lease, renewed by a thread, and what the worker reports of itself
watching         what blocks the event loop
duties           what each worker does for all: rescue, due times, batches, schedules, cancellations
"""
