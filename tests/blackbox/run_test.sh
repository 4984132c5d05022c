#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# `make run` in a fresh clone, as somebody who has just found us would do it: it comes up, takes an event from nc, stops at
# Ctrl-C and leaves nothing behind but its data, which the next `make run` finds.
. "$(dirname "$0")/lib.sh"

CLONE=$TMP/clone
export RINGMAIN_TCP=127.0.0.1:0 RINGMAIN_HTTP=127.0.0.1:0 RINGMAIN_METRICS=127.0.0.1:0
unset RINGMAIN_POSTGRES MAKEFLAGS MFLAGS MAKELEVEL
group=

# What was built already is not built once more: a clone's files are newer than it, so it is made newer still.
fresh_clone() {
    git clone -q . "$CLONE" || return 1
    [ ! -d build/release ] || { mkdir -p "$CLONE/build" && cp -r build/release "$CLONE/build/"; }
}

# In a process group of its own with signals as a terminal's shell leaves them; prints what a person would see.
make_run() {
    : >"$TMP/run.out"
    "$PYTHON" -c 'import os, signal, sys
os.setsid()
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execvp("make", ["make", "--no-print-directory", "-C", sys.argv[1], "run"])' "$CLONE" >"$TMP/run.out" 2>&1 </dev/null &
    group=$!
    is_up() { [ -s "$CLONE/var/run.env" ] || ! kill -0 "$group" 2>/dev/null; }
    until_true 300 is_up
    [ -s "$CLONE/var/run.env" ] || { not_ok "$1" "$(tail -n 20 "$TMP/run.out")"; finish; }
    ok "$1"
    . "$CLONE/var/run.env"
    PG=$RINGMAIN_POSTGRES
}

# Whatever runs from the clone: programs that work in it or were given its name.
processes() {
    local directory
    for directory in /proc/[0-9]*; do
        [ "${directory#/proc/}" != "$$" ] || continue
        if [[ $(readlink "$directory/cwd") == "$CLONE"* ]] ||
            tr '\0' ' ' <"$directory/cmdline" | grep -qF "$CLONE"; then
            echo "${directory#/proc/} $(tr '\0' ' ' <"$directory/cmdline")"
        fi
    done 2>/dev/null
}
none_left() { [ -z "$(processes)" ]; }

# To the whole group, as a terminal does.
ctrl_c() {
    kill -INT -- "-$group"
    gone() { ! kill -0 "$group" 2>/dev/null; }
    check "$1: make run ends" until_true 60 gone
    wait "$group"
    if until_true 30 none_left; then ok "$1: no process is left"; else not_ok "$1: no process is left" "$(processes)"; fi
    check "$1: var/run.env is gone" [ ! -e "$CLONE/var/run.env" ]
    refused_now() { ! nc -z -w 5 "${RINGMAIN_TCP%:*}" "${RINGMAIN_TCP##*:}"; }
    check "$1: nobody listens there" refused_now
    group=
    export RINGMAIN_TCP=127.0.0.1:0 RINGMAIN_HTTP=127.0.0.1:0 RINGMAIN_METRICS=127.0.0.1:0
    unset RINGMAIN_POSTGRES RINGMAIN_TOKEN RINGMAIN_GRPC RINGMAIN_PID # they were the launcher's own
}

stop_all() {
    [ -z "$group" ] || kill -KILL -- "-$group" 2>/dev/null
    kill -KILL $(processes | cut -d ' ' -f 1) 2>/dev/null # ringmain is not of the group
    [ ! -d "$CLONE/var/postgres" ] || bash tests/tools/postgres.sh remove "$CLONE/var/postgres" 2>/dev/null
    end_all
}
trap stop_all EXIT

check "a fresh clone" fresh_clone
[ "$failures" -eq 0 ] || finish
find "$CLONE/build" -type f -exec touch {} + 2>/dev/null

make_run "make run comes up"
like "it prints the addresses" "HTTP and WebSocket $RINGMAIN_HTTP +TCP $RINGMAIN_TCP +metrics $RINGMAIN_METRICS" "$(cat "$TMP/run.out")"
like "and three lines to try" "nc -N ${RINGMAIN_TCP/:/ }.*curl -s http://$RINGMAIN_HTTP/events.*psql " "$(tr '\n' ' ' <"$TMP/run.out")"
like "on loopback only" '^127\.0\.0\.1:[0-9]+ 127\.0\.0\.1:[0-9]+ 127\.0\.0\.1:[0-9]+$' "$RINGMAIN_TCP $RINGMAIN_HTTP $RINGMAIN_METRICS"
check "RINGMAIN_PID runs" kill -0 "$RINGMAIN_PID"
same "nc needs no hello" "" "$(echo '{"type":"hello","id":"nc-1","data":{"from":"nc"}}' | nc -N -w 20 "${RINGMAIN_TCP%:*}" "${RINGMAIN_TCP##*:}")"
check "its event is a row" until_sql 'nc-1|hello|{"from": "nc"}' 'select id, type, data from events'
same "the development token is good, and its user's" '{"accepted":1,"duplicates":0,"rejected":[]}' \
    "$(curl -s --max-time 20 -H "Authorization: Bearer $RINGMAIN_TOKEN" "http://$RINGMAIN_HTTP/events?ack=stored" -d '{"id":"curl-1","type":"t"}')"
same "user demo" 'demo' "$(sql "select user_id from events where id = 'curl-1'")"
same "a token that is presented is verified" 401 \
    "$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer ${RINGMAIN_TOKEN%?????}AAAAA" "http://$RINGMAIN_HTTP/events" -d '{}')"
like "metrics" '^ringmain_events_stored_total 2$' "$(curl -s "http://$RINGMAIN_METRICS/metrics")"
second=$(make --no-print-directory -C "$CLONE" run 2>&1)
same "a second one beside it is refused" yes "$([ $? -ne 0 ] && echo yes)"
like "and says why" "already running here" "$second"
ctrl_c "Ctrl-C"

make_run "make run comes up again"
same "it finds its data" 'curl-1|nc-1' "$(sql "select string_agg(id, '|' order by id) from events")"
same "and knows its events again" '{"accepted":1,"duplicates":1,"rejected":[]}' \
    "$(curl -s --max-time 20 "http://$RINGMAIN_HTTP/events?ack=stored" -d '[{"id":"nc-1","type":"t"},{"id":"new-1","type":"t"}]')"
same "three rows" 3 "$(sql 'select count(*) from events')"
ctrl_c "Ctrl-C again"
same "git sees nothing of it" "" "$(git -C "$CLONE" status --porcelain 2>&1)"
finish
