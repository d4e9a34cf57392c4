"""What runs jobs: one service a file, one coroutine each, assembled in `worker`.

The dispatcher claims, the executor runs attempts, the ledger writes how they ended; the keeper, a thread, renews the lease;
the timekeeper makes due jobs ready; the janitor buries dead workers and drops old history.
"""
