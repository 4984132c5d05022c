#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# More completions at once than the ring's queue holds: thousands of connections are answered in one turn of a shard whose
# completion queue has its least size. The kernel keeps aside what does not fit and ends multishots. Nothing is lost,
# doubled or out of order, and whoever is gone meanwhile is buried.
. "$(dirname "$0")/lib.sh"

start_postgres
start_ringmain -o node.shards=1 -o limits.completions=1024 -o limits.receive_buffers=4096 -o limits.receive_buffer_bytes=2k \
    -o batch.max_rows=3000 -o batch.linger_ms=5000 -o limits.connections=4000 || finish
cases "$PYTHON" "$BLACKBOX/overflow.py" 3000
like "overflow: the log names the option" 'the completion queue overflowed.*limits.completions' "$(cat "$LOG")"
wait "$PID"
same "overflow: and ends well" 0 $?
PID=
finish
