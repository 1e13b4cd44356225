#!/bin/sh
# Tries the gateway on this machine: scripts/smoke/dev.sh [URL] [options of `flask codex smoke`]
# The key is PROXY_API_KEY, from the environment or from .env.
set -eu
cd "$(dirname "$0")/../.."

case "${1-}" in
"" | -*) url="http://127.0.0.1:${PORT:-11435}" ;;
*) url=$1 && shift ;;
esac

exec .venv/bin/flask --app wsgi codex smoke "$url" "$@"
