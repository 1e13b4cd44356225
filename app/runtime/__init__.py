"""Where the gateway meets gunicorn: hooks, the worker class, the processes of one worker generation."""
