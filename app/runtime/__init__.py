"""gunicorn and what it runs: the master and its reload, the worker class, the hooks, the processes of one worker.

Knows: gunicorn's arbiter and workers, signals, the memory that they share, how to build what a worker serves from its
settings. Must not know: a request, a turn, an endpoint. What the master loads (everything but `build`, `demo`, `hooks`,
`maintenance` and `worker_services`) must not import the application.
"""
