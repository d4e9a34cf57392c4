"""The worker: it runs jobs. Its services are made in `parts`, and started and stopped in `worker`.

The dispatcher claims, the executor runs attempts, the ledger writes how they ended::

claiming         claims: when, from which queues, and from which position on
running          attempts, from their start to their end
slots            pools, their slots, and pauses
limits           jobs that wait at limits and rates
job_processes    attempts in processes of their own
writing          how attempts end, and what they record
lease            the lease, renewed by a thread, and what the worker reports of itself
watching         jobs that block the event loop
health, job_log, connections, connection_shares, duty    what the services share
embedded_worker  a worker on an application's event loop, started again after an error
duties           work for all workers: rescue, due times, batches, schedules; and cancellations
"""
