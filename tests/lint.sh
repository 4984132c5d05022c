#!/usr/bin/env bash
# Form and static analysis: clang-format changes nothing, clang-tidy finds nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0
if ! git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror 2>&1 | head -n 40; then status=1; fi
git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror >/dev/null 2>&1 || { echo "lint: run make format"; status=1; }
# clang-tidy reads its flags from a file, so that no shell comes between.
database=$(mktemp -d)
trap 'rm -rf "$database"' EXIT
printf '%s\n' -xc -std=gnu11 "-I$PWD" -isystem/usr/share/include -D_GNU_SOURCE '-DRINGMAIN_VERSION="lint"' \
    $(pkg-config --cflags libpq liburing libjwt) >"$database/compile_flags.txt"
if ! git ls-files 'core/*.c' 'proto/*.c' 'ws/*.c' 'batch/*.c' 'metrics/*.c' |
    xargs -P "$(nproc)" -n 4 clang-tidy --quiet '--warnings-as-errors=*' -p "$database" 2>/dev/null; then
    status=1
fi
[ $status -eq 0 ] && echo "lint: clean"
exit $status
