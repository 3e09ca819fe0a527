#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# Make the guest's command as one file: tools/zipapp.sh FILE
#
# It holds bytecode for the Python that makes it, which halves the start there,
# and the source beside it for every other Python from 3.9 on.
set -eu

file=$1
python=${PYTHON:-python3}
name=$(basename "$file")

mkdir -p "$(dirname "$file")"
# A directory of its own, so that two runs at once do no harm.
place=$(mktemp -d "$(dirname "$file")/zipapp.XXXXXX")
trap 'rm -rf "$place"' EXIT

app=$place/app
mkdir -p "$app/peerdata"
cp src/peerdata/__init__.py src/peerdata/__main__.py "$app/peerdata"
cp -r src/peerdata/guest "$app/peerdata"
cat >"$app/__main__.py" <<'MAIN'
import sys

from peerdata.__main__ import main

sys.exit(main())
MAIN
find "$app" -name __pycache__ -prune -exec rm -r {} +

"$python" -m compileall -q -b -o 2 \
    --invalidation-mode unchecked-hash "$app/peerdata"
"$python" -m zipapp --compress --python '/usr/bin/env python3' \
    --output "$place/$name" "$app"
chmod 755 "$place/$name"
mv "$place/$name" "$file"
ls -l "$file"
