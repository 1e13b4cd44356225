#!/bin/sh
# Tries production: scripts/smoke/prod.sh [URL] [options of `flask codex smoke`]
# The address is PROD_URL, if none is given; the key is PROD_API_KEY. It must be https, and a model must answer, not
# the built-in demo.
set -eu
cd "$(dirname "$0")/../.."

case "${1-}" in
"" | -*) url="${PROD_URL:?give the address of production, or set PROD_URL}" ;;
*) url=$1 && shift ;;
esac

exec .venv/bin/flask --app wsgi codex smoke "$url" --key-env PROD_API_KEY --require https --require model "$@"
