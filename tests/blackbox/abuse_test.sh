#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Clients of Socket.IO's door that do not keep to its rules: see live/abuse.py.
. "$(dirname "$0")/lib.sh"

start_postgres
for shards in 1 2; do
    start_ringmain -o node.shards=$shards -o dedup.ids=65536 -o socketio.ping_interval_ms=1000 -o socketio.ping_timeout_ms=1000 \
        -o socketio.connect_timeout_ms=2000 -o socketio.recovery_s=1 -o live.queue_bytes=1m || finish
    cases timeout 300 "$PYTHON" "$BLACKBOX/live/abuse.py"
    stop_ringmain
    same "it drains and ends with 0 ($shards)" 0 $?
done
finish
