#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# make torture: the long forms of what `make test` does in short. PART=kills|outage|poison|bytes runs one; KILLS and FAULTS
# (of Postgres) say how many. Progress on the terminal; each part ends with its figures behind a #.
set -uo pipefail
cd "$(dirname "$0")/../.."
failed=0 began=$SECONDS
part() { [ -z "${PART:-}" ] || [ "$PART" = "$1" ]; }
run() { # WHAT COMMAND…
    local started=$SECONDS
    echo "── $1"
    shift
    "$@" || failed=$((failed + 1))
    echo "── $((SECONDS - started)) s"
}
quietly() { "$@" 2>/dev/null | grep -vE '^ok '; return "${PIPESTATUS[0]}"; }

if part bytes; then
    make --no-print-directory build/release/tests/unit/damage_test >/dev/null || exit 1
    run "every byte of a small spool is flipped, one at a time" \
        quietly env EVERY_BYTE=1 build/release/tests/unit/damage_test
fi
part poison && run "54 kinds of poison, each in 10,000 rows: the first, the middle and the last one" \
    quietly env FULL=1 bash tests/blackbox/poison_test.sh
part outage && run "Postgres is away for three minutes under full load" \
    env AWAY_S="${AWAY_S:-180}" bash tests/blackbox/outage_test.sh
part kills && run "ringmain is killed under load, Postgres dies, its answers are cut" \
    env KILLS="${KILLS:-1000}" FAULTS="${FAULTS:-50}" STEP=1 bash tests/blackbox/torture_test.sh
echo "── $failed parts failed, $((SECONDS - began)) s in all"
[ "$failed" -eq 0 ]
