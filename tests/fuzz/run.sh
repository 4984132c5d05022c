#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# `make fuzz`: builds every target with libFuzzer and the sanitizers, and runs each SECONDS_EACH=60 seconds on a
# copy of its corpus. What it finds is kept in build/fuzz/found/TARGET, to be looked at and, once mended, added to
# tests/fuzz/corpus/TARGET, which `make test` replays. TARGETS="json http" runs only those.
# Exit status: 0 nothing was found.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
seconds=${SECONDS_EACH:-60}
make --no-print-directory -j"$(nproc)" BUILD=fuzz fuzzers || exit 1
found=build/fuzz/found log=build/fuzz/log
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
mkdir -p "$log"
clean=0 dirty=0

run() {
    local target=$1 corpus=tests/fuzz/corpus/$1
    mkdir -p "$work/$target" "$found/$target"
    [ -d "$corpus" ] && cp -r "$corpus/." "$work/$target"
    "build/fuzz/tests/fuzz/${target}_fuzz" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -max_len=65536 -print_final_stats=1 -artifact_prefix="$found/$target/" "$work/$target" \
        >"$log/$target" 2>&1
}

for file in tests/fuzz/*_fuzz.c; do
    target=$(basename "$file" _fuzz.c)
    [[ " ${TARGETS:-$target} " == *" $target "* ]] || continue
    if run "$target"; then
        clean=$((clean + 1))
        echo "ok $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log/$target") inputs, nothing found"
    else
        dirty=$((dirty + 1))
        echo "not ok $target: see $log/$target and $found/$target"
        grep -m 3 -E 'ERROR|runtime error|bug:|deadly signal' "$log/$target" | sed 's/^/  # /'
    fi
done
echo "fuzz: $clean targets clean, $dirty with findings"
[ $dirty -eq 0 ] && [ $clean -gt 0 ]
