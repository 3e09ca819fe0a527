#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# Make or update the virtual environment in $VENV (.venv):
#
#   tools/setup.sh server    what the service needs, and nothing else
#   tools/setup.sh dev       the same, and what tests, checks and docs need
#
# $PYTHON names the interpreter; without it the newest of Python 3.11 to 3.14
# is taken. The environment is made anew when the interpreter changes, and
# brought up to date when pyproject.toml or requirements.txt change.
set -eu

kind=$1
venv=${VENV:-.venv}

fail() {
    echo "peerdata: $1" >&2
    exit 1
}

# The version of an interpreter that can run the service, or nothing.
version_of() {
    "$1" -c '
import sys
if (3, 11) <= sys.version_info[:2] <= (3, 14):
    print("%d.%d.%d" % sys.version_info[:3])
' 2>/dev/null || true
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        [ -n "$(version_of "$PYTHON")" ] ||
            fail "PYTHON=$PYTHON is not a Python 3.11 to 3.14"
        command -v "$PYTHON"
        return
    fi
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if [ -n "$(version_of "$name")" ]; then
            command -v "$name"
            return
        fi
    done
    fail "no Python 3.11 to 3.14 found; on Debian or Ubuntu:
  apt install python3 python3-venv
or name one: make PYTHON=/path/to/python3"
}

install() {
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

python=$(find_python)
# A virtual environment belongs to one interpreter: the same path may become
# another version, and the other way round.
identity="$python $(version_of "$python")"
wanted="$identity $(cat pyproject.toml requirements.txt | cksum)"
stamp=$venv/.$kind
[ "$(cat "$venv/.python" 2>/dev/null || true)" = "$identity" ] || rm -rf "$venv"
[ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ] || exit 0

echo "Setting up $venv ($kind) with Python $(version_of "$python")..."
if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv" || {
        rm -rf "$venv"
        fail "$python cannot make a virtual environment; on Debian or Ubuntu:
  apt install python3-venv"
    }
    echo "$identity" >"$venv/.python"
fi
if [ "$kind" = dev ]; then
    install -r requirements.txt
else
    install -c requirements.txt setuptools wheel
fi
extras=$([ "$kind" = dev ] && echo dev,server || echo server)
install -c requirements.txt --no-build-isolation -e ".[$extras]"
echo "$wanted" >"$stamp"
