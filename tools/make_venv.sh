#!/bin/sh
# make_venv.sh PYTHON FOLDER: a virtual environment; where Debian keeps venv in a package of its own, get that.
set -eu
python=$1
folder=$2

if [ -z "$python" ]; then
    echo "flowmusic needs Python 3.11 or later: install python3 and python3-venv" >&2
    exit 1
fi
"$python" - <<'PY'
import sys
if sys.version_info < (3, 11):
    sys.exit(f"flowmusic needs Python 3.11 or later, this is {sys.version.split()[0]}: make PYTHON=/path/to/python3.11")
PY
[ -x "$folder/bin/pip" ] && exit 0

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq || true
        apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    else
        echo "This Python cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv" >&2
        exit 1
    fi
fi
"$python" -m venv "$folder"
