"""Configuration of gunicorn for ForwardAuth; `-b` on the command line takes another address."""

import os

from app.observability.logs import log_config

bind = "127.0.0.1:18080"
worker_class = "gthread"
workers = 2
threads = 8
worker_connections = 512
keepalive = 95  # longer than a proxy keeps a connection that it does not use
graceful_timeout = 5
timeout = 30  # a heartbeat
# Once, in the master: so a HUP with settings that are refused ends nothing. Keys that change are read without one.
preload_app = True
# No header of a proxy changes what a request is.
forwarded_allow_ips = ""
forwarder_headers = ""
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
logconfig_dict = log_config("info")  # in it no line quotes what a client sent
