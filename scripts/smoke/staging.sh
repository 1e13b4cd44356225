#!/bin/sh
# Tries staging: scripts/smoke/staging.sh [URL] [options of `flask codex smoke`]
# The address is STAGING_URL, if none is given; the key is STAGING_API_KEY.
set -eu
cd "$(dirname "$0")/../.."

case "${1-}" in
"" | -*) url="${STAGING_URL:?give the address of staging, or set STAGING_URL}" ;;
*) url=$1 && shift ;;
esac

exec .venv/bin/flask --app wsgi codex smoke "$url" --key-env STAGING_API_KEY "$@"
