#!/bin/sh
# Copies what cannot be made again out of CODEX_HOME, of a running service, too: scripts/backup.sh FILE
#
# Stored answers are copied by SQLite itself, so that the copy is whole while the service writes. Left out: caches, logs,
# traces, counters, the pid, and the login. BACKUP_LOGIN=encrypted takes the login along; then BACKUP_PASSPHRASE_FILE
# must name a file with a passphrase, and all of FILE is encrypted with it (openssl, AES-256, PBKDF2).
#
# A ChatGPT login is renewed in place and each renewal ends the one before, so a copy is good for days at most: it is
# for moving a service, not for keeping.
set -eu
umask 077
target=${1-}
[ -n "$target" ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
home=${CODEX_HOME:-$(dirname "$0")/../.codex-api}
login=${BACKUP_LOGIN:-no}
python=${PYTHON:-$(dirname "$0")/../.venv/bin/python}

fail() {
    echo "$*" >&2
    exit 1
}

[ -d "$home" ] || fail "There is no $home. Set CODEX_HOME."
[ ! -e "$target" ] || fail "$target exists already."
case "$login" in
no) ;;
encrypted) [ -s "${BACKUP_PASSPHRASE_FILE-}" ] || fail "BACKUP_PASSPHRASE_FILE must name a file with a passphrase." ;;
*) fail "BACKUP_LOGIN must be no or encrypted: a login is never written in the clear." ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$work/codex-home/gateway"
"$python" - "$home/gateway" "$work/codex-home/gateway" <<'PYTHON' || fail "Nothing was written."
import sqlite3, sys
from contextlib import closing
from pathlib import Path

source, target = map(Path, sys.argv[1:])
for path in sorted(source.glob("answers-*.sqlite")):
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=30)) as answers, closing(sqlite3.connect(target / path.name)) as copy:
        answers.backup(copy)
        (said,) = copy.execute("PRAGMA integrity_check").fetchone()
        if said != "ok":
            sys.exit(f"The copy of {path} is damaged: {said}")
        copy.execute("PRAGMA journal_mode = DELETE")
PYTHON
for name in installation_id gateway/login-seen; do
    [ ! -e "$home/$name" ] || cp -p "$home/$name" "$work/codex-home/$name"
done
if [ "$login" = encrypted ]; then
    [ -e "$home/auth.json" ] || fail "There is no login in $home."
    cp "$home/auth.json" "$work/codex-home/auth.json"
fi

tar -C "$work" -czf "$work/backup" codex-home
if [ "$login" = encrypted ]; then
    openssl enc -aes-256-cbc -pbkdf2 -iter 600000 -salt -pass "file:$BACKUP_PASSPHRASE_FILE" \
        -in "$work/backup" -out "$work/encrypted"
    mv "$work/encrypted" "$work/backup"
fi
# Under its own name only when it is whole.
cp "$work/backup" "$target.part"
mv "$target.part" "$target"
echo "$target: $(find "$work/codex-home" -type f | wc -l) files, $([ "$login" = no ] && echo 'without the login' || echo 'with the login, encrypted')."
