#!/bin/sh
# Puts a backup of scripts/backup.sh into an empty or missing CODEX_HOME: scripts/restore.sh FILE
#
# The service must not run there. An encrypted backup needs BACKUP_PASSPHRASE_FILE. After that: start the service, and
# log in if the login was not part of it.
set -eu
umask 077
source=${1-}
[ -n "$source" ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
home=${CODEX_HOME:-$(dirname "$0")/../.codex-api}

fail() {
    echo "$*" >&2
    exit 1
}

[ -r "$source" ] || fail "$source cannot be read."
if [ -e "$home" ] && [ -n "$(ls -A "$home")" ]; then
    fail "$home is not empty: move it away first. Nothing was changed."
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
if [ "$(head -c 8 "$source")" = Salted__ ]; then
    [ -s "${BACKUP_PASSPHRASE_FILE-}" ] || fail "It is encrypted: BACKUP_PASSPHRASE_FILE must name the passphrase's file."
    undecipherable="It cannot be decrypted: another passphrase, or damaged."
    openssl enc -d -aes-256-cbc -pbkdf2 -iter 600000 -pass "file:$BACKUP_PASSPHRASE_FILE" \
        -in "$source" -out "$work/backup" 2>/dev/null || fail "$undecipherable"
    # With a wrong passphrase openssl finds one file in 256 well padded; what comes out is no archive.
    gzip -t "$work/backup" 2>/dev/null || fail "$undecipherable"
    source="$work/backup"
fi
mkdir "$work/out"
tar -C "$work/out" -xzf "$source" --no-same-owner || fail "$1 is no backup, or damaged."
[ -d "$work/out/codex-home" ] || fail "$1 is no backup of a CODEX_HOME."
mkdir -p "$home"
cp -R "$work/out/codex-home/." "$home/"
chmod -R go= "$home"
echo "$home: restored. The files belong to $(id -un): the service must run as this user, or be given them (chown -R)."
[ -e "$home/auth.json" ] || echo "The login was not part of it: .venv/bin/flask --app wsgi codex login"
