#!/bin/sh
# Brings what was tried here into production: scripts/port-dev-to-prod.sh VERSION
#
# VERSION is the tag of an image that this host has or can pull (compose), or a commit or tag of git (systemd). It
# checks everything that can be checked, then asks; CONFIRM_DEPLOY=prod answers in advance. In the end it tries
# production as a client would (PROD_URL, PROD_API_KEY). SKIP_DEV_SMOKE=1 leaves out the try of the dev service here.
# The other variables are those of scripts/releases.sh.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/releases.sh
. scripts/releases.sh

version=${1-}
[ -n "$version" ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
problems=0

check() {
    what=$1 && shift
    if said=$("$@" 2>&1); then
        echo "ok      $what"
    else
        echo "FAILED  $what"
        [ -z "$said" ] || echo "$said" | sed 's/^/          /'
        problems=$((problems + 1))
    fi
}

address_is_there() {
    if [ -z "${PROD_URL-}" ] || [ -z "${PROD_API_KEY-}" ]; then
        fail "Set PROD_URL and PROD_API_KEY: what was deployed is tried."
    fi
}

settings_are_closed() {
    mode=$(stat -c %a "$PROD_CONFIG/.env") || return 1
    case "$mode" in
    ?00 | ?40) ;;
    *) fail "chmod 600 $PROD_CONFIG/.env: its mode is $mode." ;;
    esac
}

# As the service will read them, without what this shell has set.
settings_are_good() {
    env -i PATH="$PATH" PROXY_ENV=prod PYTHONDONTWRITEBYTECODE=1 .venv/bin/python - "$PROD_CONFIG/.env" <<'PYTHON'
import sys
from pathlib import Path

from app.settings import SettingsError, load_settings
from app.settings.table import read_environment

try:
    load_settings(read_environment(Path(sys.argv[1])))
except SettingsError as error:
    sys.exit("\n".join(error.problems))
PYTHON
}

version_is_there() {
    case "$DEPLOY_WITH" in
    compose)
        image="${GATEWAY_IMAGE:-codex-gateway}:$version"
        docker image inspect "$image" >/dev/null || docker pull --quiet "$image"
        ;;
    systemd) in_checkout fetch --quiet --tags && in_checkout rev-parse --verify --quiet "$version^{commit}" >/dev/null ;;
    esac
}

place_is_ready() {
    case "$DEPLOY_WITH" in
    compose)
        GATEWAY_TAG=$version compose config --quiet && docker network inspect "${TRAEFIK_NETWORK:-traefik}" >/dev/null
        ;;
    systemd)
        [ -z "$(in_checkout status --porcelain --untracked-files=no)" ] || fail "$PROD_CONFIG has changes."
        systemctl cat "$PROD_UNIT" >/dev/null
        ;;
    esac
}

[ -e "$PROD_CONFIG/.env" ] || fail "There are no settings for production: $PROD_CONFIG/.env"
if [ "$DEPLOY_WITH" = compose ] && [ ! -e "$PROD_CONFIG/image.env" ]; then
    : >"$PROD_CONFIG/image.env" # compose reads it
fi
check "address and key of production" address_is_there
check "settings are closed to others" settings_are_closed
check "settings are those of a production" settings_are_good
check "version $version is there" version_is_there
check "$DEPLOY_WITH can run it" place_is_ready
if [ -z "${SKIP_DEV_SMOKE-}" ]; then
    check "the service here answers" scripts/smoke/dev.sh
fi
[ "$problems" -eq 0 ] || fail "Nothing was changed."

from=$(version_now)
echo "Production goes from ${from:-nothing} to $version, with $DEPLOY_WITH."
answer=${CONFIRM_DEPLOY-}
if [ -z "$answer" ]; then
    printf 'Type prod to go on: '
    read -r answer || true
fi
[ "$answer" = prod ] || fail "Nothing was changed."

record
[ "$DEPLOY_WITH" = compose ] || version=$(in_checkout rev-parse "$version^{commit}")
if ! start_version "$version"; then
    fail "It did not start. Back: scripts/rollback.sh image"
fi
record
if ! scripts/smoke/prod.sh; then
    fail "It does not answer as it should. Back: scripts/rollback.sh image"
fi
echo "Production runs $version. Back: scripts/rollback.sh image"
