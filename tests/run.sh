#!/usr/bin/env bash
# Every test. Prints a line for each program as it goes, the output of what failed, and at the end one line
# "N passed, N failed". Exit status 0 only if nothing failed.
#   ONLY=unit|sanitizers|fuzz|sim|blackbox|lint  runs one part
set -uo pipefail
cd "$(dirname "$0")/.."
passed=0
failed=0
jobs=$(nproc)
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
only=${ONLY:-}
unset ONLY # some unit tests take it for the name of a case
part() { [ -z "$only" ] || [ "$only" = "$1" ]; }

# Runs a program and counts its cases: cmocka's lines, or "ok …" / "not ok …". A program without any case, or with a bad
# exit status and no failed case, is one failure.
run() {
    local name=$1 good bad status started=$SECONDS
    shift
    "$@" >"$log/out" 2>&1
    status=$?
    good=$(grep -cE '^(\[ +OK +\]|ok )' "$log/out")
    bad=$(grep -cE '^(\[ +FAILED +\] [a-z_0-9]+$|not ok )' "$log/out")
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$good" -eq 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    passed=$((passed + good))
    failed=$((failed + bad))
    if [ "$bad" -eq 0 ]; then
        printf '  ok    %-44s %4d cases %4ds\n' "$name" "$good" $((SECONDS - started))
    else
        printf '  FAIL  %-44s %4d passed, %d failed, exit %d\n' "$name" "$good" "$bad" "$status"
        sed 's/^/        | /' "$log/out" | tail -n 60
    fi
}

# Builds; a build that fails is one failure and skips what needs it.
build() {
    printf 'building: make %s\n' "$*"
    if ! make --no-print-directory -j"$jobs" "$@" >"$log/build" 2>&1; then
        failed=$((failed + 1))
        echo "  FAIL  make $*"
        grep -E 'error|warning|undefined|\*\*\*' "$log/build" | head -n 40 | sed 's/^/        | /'
        return 1
    fi
}

units() {
    local build=$1 program
    shift
    for program in build/"$build"/tests/unit/*_test; do
        [ -x "$program" ] && run "$build $(basename "$program")" timeout 300 "$program"
    done
}

if part lint; then
    run layers bash tests/layers.sh
    build BUILD=clang all
fi
build BUILD=release all perfs || { echo "$passed passed, $failed failed"; exit 1; }
if part unit || part sanitizers; then
    export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1
    build BUILD=asan units fuzzers && units asan
fi
if part fuzz; then
    if build BUILD=asan fuzzers; then
        for program in build/asan/tests/fuzz/*_fuzz; do
            name=$(basename "$program" _fuzz)
            run "fuzz corpus $name" timeout 300 "$program" tests/fuzz/corpus/"$name"
        done
    fi
fi
if part sanitizers; then
    build BUILD=tsan build/tsan/tests/unit/{mail,dedup,shard,allowance}_test && units tsan
fi
if part sim; then
    if build BUILD=release sims; then
        run "simulation" timeout 900 build/release/tests/sim/sim
        run "planted bugs" timeout 900 env SHORT=1 bash tests/mutants/run.sh
    fi
fi
if part blackbox; then
    for script in tests/blackbox/*_test.sh; do
        run "$(basename "$script")" timeout 900 bash "$script"
    done
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
