#!/bin/sh
# Virtual environment with what a requirements file names: made if need be, or a sentence about why it cannot be.
#
#   environment.sh FOLDER REQUIREMENTS    with PYTHON in the environment for a certain interpreter
#
# An environment whose Python is gone, or too old, is made anew if make made it. One that somebody made by hand is left
# alone. What is installed is remembered by the content of the requirements, so that nothing is done twice.
set -eu

folder=$1
requirements=$2
mark="$folder/.made-by-make"
suits='import sys; sys.exit(sys.version_info < (3, 11))'
candidates="python3.11 python3.12 python3.13 python3.14 python3 python"
is_whole="import pip; $suits"
# Ctrl-C ends pip quietly while it is loaded, too, and then in its own way.
pip='
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
from pip._internal.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
'

fail() {
    echo "$*" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || echo "that does not start"
}

find_python() {
    for candidate in "$@"; do
        if "$candidate" -c "$suits" >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    seen=""
    for candidate in "$@"; do
        if command -v "$candidate" >/dev/null 2>&1; then
            seen="${seen:+$seen, }$candidate is Python $(version_of "$candidate")"
        fi
    done
    fail "Python 3.11 or newer is needed; found: ${seen:-none}. Install one (Debian: apt-get install python3 python3-venv)," \
        "or name one: make PYTHON=/path/to/python3.11 ..."
}

trap 'exit 130' INT

python=""
if [ -e "$folder" ] || [ -L "$folder" ]; then
    if ! "$folder/bin/python" -c "$is_whole" >/dev/null 2>&1; then
        about="$folder has a Python $(version_of "$folder/bin/python")"
        [ -e "$mark" ] || fail "$about; 3.11 or newer with pip is needed. make did not make that folder: move it away," \
            "then run make again."
        # shellcheck disable=SC2086  # the names are words
        python=$(find_python ${PYTHON:-$candidates})
        echo "$about, or is not whole: it is made anew."
        rm -rf "$folder"
    fi
fi

if [ ! -e "$folder" ]; then
    # shellcheck disable=SC2086  # the names are words
    [ -n "$python" ] || python=$(find_python ${PYTHON:-$candidates})
    if ! mkdir "$folder" || ! touch "$mark"; then
        fail "$folder cannot be made here: see above."
    fi
    # Not to be interrupted, which it would answer with a traceback: it takes seconds.
    if ! (trap '' INT && "$python" -m venv "$folder"); then
        rm -rf "$folder"
        fail "$python could not make $folder: see above. On Debian, apt-get install python3-venv."
    fi
fi

wanted=$(cat requirements.txt "$requirements") # one may name the other
installed="$folder/.installed-$requirements"
if [ "$wanted" != "$(cat "$installed" 2>/dev/null)" ]; then
    echo "Installing $requirements into $folder ..."
    "$folder/bin/python" -c "$pip" install --quiet --disable-pip-version-check -r "$requirements" ||
        fail "$requirements could not be installed into $folder: see above. It comes from PyPI; where that cannot be" \
            "reached, set PIP_INDEX_URL to a mirror, then run make again."
    echo "$wanted" >"$installed"
fi
