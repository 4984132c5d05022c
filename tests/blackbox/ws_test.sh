#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The WebSocket doors, with python3-websockets, npm `ws`, frames made by hand, and what the Autobahn testsuite asks.
. "$(dirname "$0")/lib.sh"

start_postgres
start_ringmain -o dedup.ids=65536 -o debug.echo=yes -o limits.output_bytes=64m || finish
cases "$PYTHON" "$BLACKBOX/ws_door.py" open
cases "$PYTHON" "$BLACKBOX/autobahn.py"
need_npm ws@8.18.3
cases node "$BLACKBOX/ws_door.mjs" "$NPM"
stop_ringmain
same "it drains and ends with 0" 0 $?

printf 'a secret of the black-box tests, 32 bytes and more' >"$TMP/secret"
printf '[key default]\nalgorithm = HS256\nsecret_file = %s\n' "$TMP/secret" >"$TMP/keys.conf"
start_ringmain -c "$TMP/keys.conf" -o dedup.ids=65536 -o auth.required=yes -o auth.leeway_s=0 -o limits.events_per_second=20 ||
    finish
cases "$PYTHON" "$BLACKBOX/ws_door.py" strict
stop_ringmain
same "it drains and ends with 0 here too" 0 $?

stop_postgres
rm -rf "$TMP/spool"
start_ringmain -o dedup.ids=65536 -o spool.bytes=4m -o spool.segment_bytes=1m -o node.shards=1 || finish
cases "$PYTHON" "$BLACKBOX/ws_door.py" full
stop_ringmain
same "it drains and ends with 0 after it was full" 0 $?
finish
