#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# No memory at the start: each of the main thread's allocations up to the moment when the doors are open fails once, in a
# start of its own. Each time ringmain either comes up and stops well, or says why it can't and ends with status 1 to 3;
# it never crashes, and what it leaves behind is a spool that the next start takes. (The same for SIGHUP: reload_test.sh.)
. "$(dirname "$0")/lib.sh"

gcc -std=gnu11 -O1 -Wall -Wextra -Werror -shared -fPIC -o "$TMP/failing_malloc.so" tests/tools/failing_malloc.c ||
    { not_ok "tests/tools/failing_malloc.c compiles"; finish; }

# start N: prints `up` or `down`, the exit status, how many allocations failed, how many were left to come.
start() {
    local pid up=down
    rm -f "$TMP/ready"
    "$PYTHON" -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("ii", int(sys.argv[1]), 0))' "$1" >"$TMP/control"
    FAILING_MALLOC=$TMP/control LD_PRELOAD=$TMP/failing_malloc.so "$PROGRAM" serve -o node.name=blackbox -o node.pin=no \
        -o "node.ready_file=$TMP/ready" -o auth.required=no -o "spool.directory=$TMP/spool" -o spool.memory=4m \
        -o spool.segment_bytes=1m -o dedup.ids=1024 -o node.shards=2 -o limits.connections=100 -o limits.producers=16 \
        -o "postgres.conninfo=host=$TMP/nowhere" -o listen.tcp=127.0.0.1:0 -o listen.http=127.0.0.1:0 \
        -o listen.metrics=127.0.0.1:0 >"$TMP/out" 2>&1 &
    pid=$!
    PID=$pid
    until [ -s "$TMP/ready" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.005; done
    [ ! -s "$TMP/ready" ] || { up=up; kill -TERM $pid; kill -TERM $pid 2>/dev/null; }
    wait $pid
    echo "$up $? $(od -An -td4 "$TMP/control" | xargs)"
    PID=
}

# Ends well, or says why not.
judge() { # N ANSWER
    case $2 in
    "up 0 "* | "up 143 "*) ;; # the second SIGTERM may come first
    "down "[123]" 0 1") grep -qiE 'memory|temporarily unavailable' "$TMP/out" || echo "$1: $2: $(tail -n 1 "$TMP/out")" ;;
    *) echo "$1: $2: $(tail -n 1 "$TMP/out")" ;;
    esac
}

down=0
n=0
said=
while :; do
    n=$((n + 1))
    answer=$(start $n)
    case $answer in *" 0") break ;; esac # none failed: it was up before
    said+=$(judge $n "$answer")
    [ "${answer%% *}" = up ] || down=$((down + 1))
done
same "each of $((n - 1)) allocations fails once: $down starts say so and end, the others come up" "" "$said"
check "there were many" [ "$n" -gt 100 ]
start_ringmain -o node.shards=2 -o spool.segment_bytes=1m -o spool.memory=4m
check "the spool is whole" kill -0 "$PID"
check "ringmain stops well" stop_ringmain
finish
