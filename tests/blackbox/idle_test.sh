#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# 10,000 WebSockets that do nothing, on one shard: each may take 4 KiB of ringmain's memory and answers a ping.
. "$(dirname "$0")/lib.sh"

COUNT=${COUNT:-10000}
BYTES_MAX=4096
ulimit -n "$(ulimit -Hn)"
allowed=$(($(ulimit -n) - 200))
if [ "$allowed" -lt "$COUNT" ]; then
    echo "# the limit of descriptors is $(ulimit -n): $allowed connections instead of $COUNT"
    COUNT=$allowed
fi
cc -std=gnu11 -O1 -Wall -Wextra -Werror -o "$TMP/idle" tests/tools/idle.c || { not_ok "tests/tools/idle.c compiles"; finish; }

memory() { awk '/^Rss(Anon|Shmem):/ { sum += $2 } END { print sum * 1024 }' "/proc/$PID/status"; }

# hold COUNT: that many connections, by a coprocess; `crowd says` reads what it prints.
hold() {
    coproc crowd { exec "$TMP/idle" "${HTTP##*:}" "$1" 2>"$TMP/idle.err"; }
    crowd_pid=$!
}
says() {
    local line=
    read -r -t 60 line <&"${crowd[0]}"
    echo "${line:-nothing; $(cat "$TMP/idle.err")}"
}
let_go() {
    eval "exec ${crowd[1]}>&-"
    wait "$crowd_pid"
}

open_to() { start_ringmain -o node.shards=1 -o dedup.ids=65536 -o "limits.connections=$1" || finish; }
gone() { [ "$(metric ringmain_connections)" = 0 ]; }
here() { [ "$(metric ringmain_connections)" = "$COUNT" ]; }

# What a ringmain takes that has room for few: what it takes beyond that is the connections', be it taken at the start
# or when they come.
start_postgres
open_to 300
hold 200
same "200 are there" "open 200" "$(says)"
let_go
check "and gone" until_true 20 gone
before=$(memory)
stop_ringmain

open_to $((COUNT + 100))
hold "$COUNT"
same "$COUNT connections on one shard" "open $COUNT" "$(says)"
check "ringmain counts $COUNT" until_true 20 here
within() {
    local each=$((($(memory) - before) / COUNT))
    echo "# $each bytes of ringmain's memory a connection $1 (RssAnon + RssShmem from $before to $(memory))"
    [ "$each" -le "$BYTES_MAX" ]
    same "a connection takes $BYTES_MAX bytes at most $1" 0 $?
}
within "while it does nothing"

echo ping >&"${crowd[1]}"
same "all of them answer a ping" "pong $COUNT" "$(says)"
within "after a ping"

same "events still get in" '{"accepted":1,"duplicates":0,"rejected":[]}' \
    "$(curl -s --max-time 20 "http://$HTTP/events?ack=stored" -d '{"type":"t"}')"
let_go
check "all are gone when the clients are" until_true 20 gone
within "when it is gone"
stop_ringmain
same "it drains and ends with 0" 0 $?

# Once more, and now ringmain goes first: every client is told, and nobody waits for one.
open_to $((COUNT + 100))
hold "$COUNT"
same "$COUNT connections once more" "open $COUNT" "$(says)"
stop_ringmain
same "it drains and ends with 0 with all of them open" 0 $?
finish
