#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# Run the demo service: demo/serve.sh PYTHON
#
# What to try is printed once the service is ready, below its own first lines.
set -eu

python=$1

show_what_to_try() {
    "$python" demo/wait_until_ready.py http://127.0.0.1:9775/readyz
    cat demo/try.txt
}

show_what_to_try &
exec "$python" -m peerdata serve --config-file demo/peerdata.conf
