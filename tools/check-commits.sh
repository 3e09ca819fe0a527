#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
#
# Check that the subjects of the last commits have at most 72 characters.
set -eu

# Older commits are as they are; see CONTRIBUTING.md.
first=2dc2f16

git rev-parse --quiet --verify "$first^{commit}" >/dev/null 2>&1 || exit 0
long=$(git log --format=%s "$first..HEAD" | awk 'length > 72')
if [ -n "$long" ]; then
    echo "Commit subjects of more than 72 characters:" >&2
    echo "$long" >&2
    exit 1
fi
