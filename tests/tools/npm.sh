#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# npm.sh NAME@VERSION…: prints a directory whose node_modules/ has these packages, installing them the first time.
# It lies in the user's cache, outside the tree, and is named by what is in it: clones share it, and two that ask at
# the same time do not meet. A script of node finds the packages with
#
#   const need = createRequire(process.argv[2] + '/')     and then     need('ws')
set -eu
[ $# -gt 0 ] || { echo "npm.sh NAME@VERSION…" >&2; exit 2; }
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/ringmain-npm
name=$(printf '%s\n' "$@" | sort | sed 's/[^A-Za-z0-9@._-]/_/g' | tr '\n' '+')
if [ ! -d "$cache/$name" ]; then
    mkdir -p "$cache"
    making=$(mktemp -d "$cache/making.XXXXXX")
    trap 'rm -rf "$making"' EXIT
    npm install --prefix "$making" --no-save --no-package-lock --no-audit --no-fund --ignore-scripts "$@" >"$making/log" 2>&1 ||
        { tail -n 5 "$making/log" >&2; exit 1; }
    # Somebody else may have been first: theirs is as good.
    mv -T "$making" "$cache/$name" 2>/dev/null || [ -d "$cache/$name" ]
fi
echo "$cache/$name"
