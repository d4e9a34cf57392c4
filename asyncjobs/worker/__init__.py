"""What runs jobs, assembled in `worker`.

The dispatcher claims, the executor runs attempts, the ledger writes how they ended::

claiming    which queues are looked at, when, and from where on
running     attempts, from their start to their end
slots       pools, and what may start in them
limits      which jobs are let pass
apart       attempts in processes of their own
writing     how attempts end, and what they record
keeping     the lease, kept by a thread, and the watch on the event loop
duties      what each worker does for all: rescue, due times, batches, schedules, cancellations
"""
