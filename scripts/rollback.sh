#!/bin/sh
# Goes back to what ran in production before:
#
#   scripts/rollback.sh list          releases, the newest last; * is what runs
#   scripts/rollback.sh image [N]     the version of release N; the one before what runs, without a number
#   scripts/rollback.sh config [N]    the settings of release N, by a reload that loses no request
#
# It asks nothing. What ran until now is written down first, so that the way back is the same command with its number.
# The variables that it knows are those of scripts/releases.sh.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/releases.sh
. scripts/releases.sh

usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

show() {
    now=$(version_now)
    for number in $(numbers); do
        version=$(cat "$PROD_HISTORY/$number/version")
        mark=" "
        if [ "$version" = "$now" ] && cmp -s "$PROD_CONFIG/.env" "$PROD_HISTORY/$number/env"; then
            mark="*"
        fi
        echo "$mark $number  $version  $(date -r "$PROD_HISTORY/$number/version" '+%Y-%m-%d %H:%M')"
    done
}

# The newest release that differs in one part from what runs.
before() {
    for number in $(numbers | sort -rn); do
        case "$1" in
        version) [ "$(cat "$PROD_HISTORY/$number/version")" = "$(version_now)" ] || break ;;
        env) cmp -s "$PROD_CONFIG/.env" "$PROD_HISTORY/$number/env" || break ;;
        esac
        number=""
    done
    [ -n "${number-}" ] || fail "No release in $PROD_HISTORY is another one than what runs."
    echo "$number"
}

part=${1-}
case "$part" in
list) show && exit ;;
image) number=${2-$(before version)} ;;
config) number=${2-$(before env)} ;;
*) usage ;;
esac
release="$PROD_HISTORY/$number"
[ -e "$release/version" ] || fail "There is no release $number in $PROD_HISTORY: scripts/rollback.sh list"

record
if [ "$part" = image ]; then
    start_version "$(cat "$release/version")"
    echo "Production runs the version of release $number: $(cat "$release/version")."
else
    load_settings "$release/env"
    echo "Production was told to load the settings of release $number."
fi
record
echo "Try it: scripts/smoke/prod.sh. Whether a reload was refused: reload on /healthz."
