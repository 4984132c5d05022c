#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Nothing acknowledged is lost, nothing is stored twice: kill -9 of ringmain under load again and again, and Postgres
# that dies or ends its sessions; then the answer to a commit is cut at each of its bytes. This is the short form;
# `make torture` is the same with 1,000 kills and 50 faults of Postgres (KILLS=n FAULTS=n).
. "$(dirname "$0")/lib.sh"

KILLS=${KILLS:-20} FAULTS=${FAULTS:-3}
STEP=${STEP:-9} # from one cut with a kill behind it to the next, in bytes
EACH=${EACH:-2} RATE=${RATE:-800} # producers a door, events a second of each
helpers=()
began=$SECONDS
trap 'kill "${helpers[@]}" 2>/dev/null; end_all' EXIT

progress() { cut -d ' ' -f 1 "$TMP/progress" 2>/dev/null || echo 0; }
takes_events() { [ "$(progress)" -gt "$1" ]; }

# One of three faults in turn.
fault() {
    case $(($1 % 3)) in
    0) stop_postgres immediate && start_postgres ;;
    1) kill -KILL "$(bash tests/tools/postgres.sh pid "$TMP/pg")" && until_true 20 start_again ;;
    2) sql "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and
            backend_type = 'client backend'" >/dev/null ;;
    esac
}

# After kill -9 the children of the old server need a moment to see it.
start_again() { bash tests/tools/postgres.sh start "$TMP/pg" fsync=off; }

# On a terminal one line that changes, elsewhere one every 50 kills.
tell() {
    local words
    words=$(printf '%d/%d kills, %d/%d faults of Postgres, %s acknowledged, %d s' "$@")
    if [ -t 2 ]; then printf '\r  %s ' "$words" >&2; elif (($1 % 50 == 0)); then echo "# $words"; fi
}

takes_more() {
    local before
    before=$(progress)
    until_true 60 takes_events "$before"
}

torture() {
    local kill faults=0
    for ((kill = 1; kill <= KILLS; kill++)); do
        takes_more || return 1
        if ((faults < FAULTS && kill * FAULTS >= (faults + 1) * KILLS)); then
            fault "$faults" || return 1
            faults=$((faults + 1))
        fi
        sleep "0.$(printf %03d $((20 + RANDOM % 231)))"
        kill_ringmain
        restart_ringmain || return 1
        tell "$kill" "$KILLS" "$faults" "$FAULTS" "$(progress)" $((SECONDS - began))
    done
    [ ! -t 2 ] || echo >&2
}

was_cut() { [ -e "$TMP/cut.done" ] || [ -e "$TMP/cut.whole" ]; }

# cut_everywhere STEP [kill]: a commit's answer is cut at byte 0, STEP, 2 STEP … until one is shorter than that. With
# `kill` ringmain is killed as well, as soon as it has been cut off: the next one has to find out what was committed.
cut_everywhere() {
    for ((cuts = 0; ; cuts += $1)); do
        rm -f "$TMP/cut.done" "$TMP/cut.whole"
        echo "$cuts" >"$TMP/cut.new"
        mv "$TMP/cut.new" "$TMP/cut"
        until_true 60 was_cut || return 1
        [ ! -e "$TMP/cut.whole" ] || break
        [ "${2:-}" != kill ] || { kill_ringmain && restart_ringmain || return 1; }
    done
    [ "$cuts" -ge 20 ] # the shortest answer there is
}

# Rows of a door: all of them, different ones, the last number of each producer summed.
rows_of() {
    sql "select coalesce(sum(n), 0), coalesce(sum(d), 0), coalesce(sum(m), 0) from (
        select count(*) n, count(distinct (data->>'n')::int) d, max((data->>'n')::int) m from events
        where data->>'producer' like '$1-%' group by data->>'producer') as each" | tr '|' ' '
}

start_postgres
"$PYTHON" tests/tools/proxy.py "$TMP/.s.PGSQL.5432" "$TMP/pg/socket/.s.PGSQL.5432" "$TMP/cut" 2>"$TMP/proxy.err" &
helpers+=($!)
until_true 10 test -S "$TMP/.s.PGSQL.5432"
start_ringmain -o node.shards=2 -o spool.segment_bytes=1m -o spool.bytes=64m -o dedup.window_s=60 -o dedup.ids=262144 \
    -o "postgres.conninfo=host=$TMP port=5432 user=ringmain dbname=ringmain"
"$PYTHON" tests/torture/producers.py "$TCP" "$HTTP" "$EACH" "$RATE" "$TMP" >"$TMP/ledger" 2>"$TMP/producers.err" &
producers=$!
helpers+=("$producers")
if torture; then
    ok "$KILLS kills of ringmain, $FAULTS faults of Postgres: it takes events again each time"
else
    not_ok "$KILLS kills of ringmain, $FAULTS faults of Postgres" "$(tail -n 5 "$LOG")"
fi
check "a commit's answer was cut at each of its bytes" cut_everywhere 1
echo "# cut at $cuts places"
check "and once more, with a kill behind each cut" cut_everywhere "$STEP" kill
touch "$TMP/stop"
wait "$producers"
same "every producer came to its end, no door broke its word" "0 " "$? $(grep ^wrong "$TMP/ledger")"
total=$(awk '/^ledger/ { sum += $4 } END { print sum + 0 }' "$TMP/ledger")
check "all $total acknowledged events are stored" until_rows "$total"
printf '# %-6s %12s %10s %10s %10s %10s\n' door acknowledged stored duplicates reconnects recognised
for door in named tcp http ws; do
    read -r acknowledged reconnects recognised < <(awk -v door=$door \
        '$2 == door { a += $4; r += $5; d += $6 } END { print a + 0, r + 0, d + 0 }' "$TMP/ledger")
    read -r stored different last < <(rows_of $door)
    printf '# %-6s %12d %10d %10d %10d %10d\n' $door "$acknowledged" "$stored" $((stored - different)) \
        "$reconnects" "$recognised"
    same "$door: acknowledged, stored, different, last number" \
        "$acknowledged $acknowledged $acknowledged" "$stored $different $last"
done
same "named: stored in the order that each sent" 0 "$(sql "
    select count(*) from (select received_at, lag(received_at) over (
        partition by data->>'producer' order by (data->>'n')::int) as before
        from events where data->>'producer' like 'named-%') as pairs where before > received_at")"
check "ringmain stops well" stop_ringmain
same "and no row more" "$total" "$(sql 'select count(*) from events')"
echo "# $KILLS kills, $FAULTS faults of Postgres, $total events, $((SECONDS - began)) s"
finish
