# shellcheck shell=sh
# What ran in production, for port-dev-to-prod.sh and rollback.sh, which read this file. Each release is a folder with
# a number, which only its owner can read:
#
#   $PROD_HISTORY/7/version   the tag of the image (compose), or the commit (systemd)
#   $PROD_HISTORY/7/env       the settings, a copy of .env
#
# From the environment:
#   DEPLOY_WITH      compose (default), or systemd
#   PROD_CONFIG      folder of production's .env: docker/config/prod; with systemd the checkout that the unit runs
#   PROD_HISTORY     $PROD_CONFIG/releases
#   PROD_UNIT        codex-gateway, the unit of systemd
#   COMPOSE_FILE     docker/compose.yaml:docker/compose.traefik.yaml

umask 077
DEPLOY_WITH=${DEPLOY_WITH:-compose}
case "$DEPLOY_WITH" in
compose) PROD_CONFIG=${PROD_CONFIG:-docker/config/prod} ;;
systemd) PROD_CONFIG=${PROD_CONFIG:-/opt/codex-gateway} ;;
*) echo "DEPLOY_WITH must be compose or systemd." >&2 && exit 2 ;;
esac
PROD_HISTORY=${PROD_HISTORY:-$PROD_CONFIG/releases}
PROD_UNIT=${PROD_UNIT:-codex-gateway}

fail() {
    echo "$*" >&2
    exit 1
}

# The tag is in a file of its own beside .env and wins over the stage's, so that it also counts for whoever types
# `docker compose up` later.
compose() {
    COMPOSE_FILE=${COMPOSE_FILE:-docker/compose.yaml:docker/compose.traefik.yaml} \
        COMPOSE_ENV_FILES="docker/stages/prod.env,$PROD_CONFIG/image.env" docker compose "$@"
}

in_checkout() {
    git -C "$PROD_CONFIG" "$@"
}

# The version that production is on: nothing, where it has none yet.
version_now() {
    case "$DEPLOY_WITH" in
    compose) sed -n 's/^GATEWAY_TAG=//p' "$PROD_CONFIG/image.env" 2>/dev/null || true ;;
    systemd) in_checkout rev-parse HEAD ;;
    esac
}

# Numbers of all releases, the oldest first.
numbers() {
    for path in "$PROD_HISTORY"/*/; do
        [ -e "${path}version" ] && basename "$path"
    done | sort -n
}

# Write down what production is on now. Nothing, if the last release says the same.
record() {
    runs=$(version_now)
    [ -n "$runs" ] || return 0
    last=$(numbers | tail -1)
    if [ -n "$last" ] && [ "$runs" = "$(cat "$PROD_HISTORY/$last/version")" ] &&
        cmp -s "$PROD_CONFIG/.env" "$PROD_HISTORY/$last/env"; then
        return 0
    fi
    new="$PROD_HISTORY/$((${last:-0} + 1))"
    mkdir -p "$new"
    cp "$PROD_CONFIG/.env" "$new/env"
    echo "$runs" >"$new/version"
}

# Run this version with the settings that are there.
start_version() {
    case "$DEPLOY_WITH" in
    compose)
        echo "GATEWAY_TAG=$1" >"$PROD_CONFIG/image.env"
        compose up --detach --no-build --wait --wait-timeout 120
        ;;
    systemd)
        in_checkout checkout --quiet --detach "$1"
        (cd "$PROD_CONFIG" && scripts/environment.sh .venv requirements.lock)
        systemctl restart "$PROD_UNIT"
        ;;
    esac
}

# Put these settings in the place of production's, and have them loaded without losing a request. The new file takes
# the old one's name in one step: the gateway never reads half of it.
load_settings() {
    cp "$1" "$PROD_CONFIG/.env.new"
    if [ -e "$PROD_CONFIG/.env" ]; then
        chown --reference="$PROD_CONFIG/.env" "$PROD_CONFIG/.env.new"
        chmod --reference="$PROD_CONFIG/.env" "$PROD_CONFIG/.env.new"
    fi
    mv "$PROD_CONFIG/.env.new" "$PROD_CONFIG/.env"
    case "$DEPLOY_WITH" in
    compose) compose kill --signal HUP gateway ;;
    systemd) systemctl reload "$PROD_UNIT" ;;
    esac
}
