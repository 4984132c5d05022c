#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# /ws/stats: the numbers of the message buffer's dashboard, and its hook.
. "$(dirname "$0")/lib.sh"

need_npm ws@8
SECRET=a-secret-of-the-stats-test-that-is-long-enough
start_postgres
start_ringmain -o node.shards=2 -o auth.required=yes -o key.default.algorithm=HS256 -o "key.default.secret=$SECRET" || finish
token=$("$PROGRAM" token -o key.default.algorithm=HS256 -o "key.default.secret=$SECRET" -u dashboard -s 'ingest')
cases node "$BLACKBOX/stats.mjs" "$NPM" "$HTTP" "$token" "$TMP/restart" >"$TMP/cases.out" &
watcher=$!
asked() { [ -e "$TMP/restart" ] || ! kill -0 "$watcher" 2>/dev/null; }
check "the hook asks for a restart" until_true 60 asked
stop_ringmain
restart_ringmain
wait "$watcher"
cat "$TMP/cases.out"
failures=$((failures + $(grep -c '^not ok ' "$TMP/cases.out")))

# Public, if it is said so.
stop_ringmain
restart_ringmain -o stats.public=yes
same "stats.public = yes needs no token" 1 "$("$PYTHON" -c '
import asyncio, json, sys, websockets
async def main():
    async with websockets.connect(f"ws://{sys.argv[1]}/ws/stats") as ws:
        print(len([json.loads(await asyncio.wait_for(ws.recv(), 10))]))
asyncio.run(main())' "$HTTP")"
finish
