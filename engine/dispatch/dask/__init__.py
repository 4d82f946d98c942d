"""Attempts on the workers of a Dask cluster.

On this side `dispatcher` decides, `following` goes with one attempt, and `cluster` talks to the scheduler and
the workers. On a worker `outpost` is the part within the Dask worker, and `station` a process of its own that
makes the attempts, as this machine would. What goes between them stands in `messages`.
"""
