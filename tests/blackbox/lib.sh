# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What every black-box test is made of; each script sources it first and calls `finish` last:
#
#   . "$(dirname "$0")/lib.sh"
#   start_postgres                          a private, empty Postgres; PG is its connection string
#   start_ringmain -o tcp.ack_interval_ms=0 the real program, on ports of its own; sets TCP HTTP METRICS PID
#   check "rows are there" until_rows 3     prints `ok NAME` or `not ok NAME`
#   finish
#
# The working directory is the repository's root, TMP a directory that is deleted at the end with everything that was
# started. Nothing here waits for a length of time: until_true waits for a condition, and its limit is only reached when
# a test fails.

set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
PROGRAM=${RINGMAIN_PROGRAM:-build/release/ringmain}
unset RINGMAIN_PROGRAM # ringmain would take it for an option
PYTHON=${PYTHON:-/usr/bin/python3}
BLACKBOX=tests/blackbox
TMP=$(mktemp -d)
chmod 755 "$TMP" # Postgres may run as another user
PG='' TCP='' HTTP='' METRICS='' PID=''
LOG=$TMP/ringmain.log # all runs of ringmain one after the other
export TMP PROGRAM PYTHONDONTWRITEBYTECODE=1
failures=0
ringmain_arguments=()
[ -x "$PROGRAM" ] || { echo "not ok there is no $PROGRAM (make)"; exit 1; }

# ── results ──────────────────────────────────────────────────────────────────────────────────────

ok() { echo "ok $*"; }

# A failure, and what was seen instead (standard input of the caller is not touched).
not_ok() {
    failures=$((failures + 1))
    echo "not ok $1"
    shift
    [ $# -eq 0 ] || printf '  # %s\n' "$@"
}

# check NAME COMMAND…: ok when the command succeeds; what it printed is shown when it does not.
check() {
    local name=$1
    shift
    if "$@" >"$TMP/said" 2>&1; then ok "$name"; else not_ok "$name" "$* failed" "$(tail -n 10 "$TMP/said")"; fi
}

# same NAME WANTED GOT
same() {
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "wanted: $2" "got:    $3"; fi
}

# like NAME EXTENDED_REGEX TEXT
like() {
    if grep -qE -- "$2" <<<"$3"; then ok "$1"; else not_ok "$1" "wanted: $2" "got:    ${3:0:2000}"; fi
}

# A helper program that prints its own ok and not ok lines, or dies.
cases() {
    local out=$TMP/cases.$BASHPID status
    "$@" >"$out" 2>"$out.err"
    status=$?
    cat "$out"
    failures=$((failures + $(grep -c '^not ok ' "$out")))
    if [ "$status" -ne 0 ] && ! grep -q '^not ok ' "$out"; then
        not_ok "$(basename "$2") came to its end" "exit status $status" "$(tail -n 5 "$out.err")"
    fi
}

# need_npm NAME@VERSION…: NPM is a directory that has them; without them the script ends here.
need_npm() {
    NPM=$(sh tests/tools/npm.sh "$@" 2>"$TMP/npm.err") || { not_ok "npm brings $*" "$(cat "$TMP/npm.err")"; finish; }
    export NPM
}

finish() {
    if [ "$failures" -ne 0 ] && [ -f "$LOG" ]; then
        echo "# what ringmain logged:"
        grep -vE '^time=[^ ]* level=(info|debug) ' "$LOG" | uniq | head -n 40 | sed 's/^/# /'
        echo "# and its end:"
        tail -n 5 "$LOG" | sed 's/^/# /'
    fi
    [ "$failures" -eq 0 ]
    exit
}

# until_true SECONDS COMMAND…: tries it again and again until it succeeds.
until_true() {
    local deadline=$((SECONDS + $1 + 1))
    shift
    until "$@" >"$TMP/tried" 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || { echo "not within its time: $*"; tail -n 3 "$TMP/tried"; return 1; }
        sleep 0.02
    done
}

# ── Postgres ─────────────────────────────────────────────────────────────────────────────────────

# fsync=off: here processes are killed, not machines. More settings: start_postgres max_connections=20
start_postgres() {
    PG=$(bash tests/tools/postgres.sh start "$TMP/pg" fsync=off "$@") || {
        not_ok "Postgres starts" "$(tail -n 5 "$TMP/pg/log" 2>&1)"
        exit 1
    }
    export PG
}

stop_postgres() { bash tests/tools/postgres.sh stop "$TMP/pg" "${1:-fast}"; }

# sql QUERY: rows, columns parted by |
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$PG" -c "$1"; }

# until_sql WANTED QUERY: waits until the answer is WANTED.
until_sql() {
    local deadline=$((SECONDS + 60)) got=
    while :; do
        got=$(sql "$2" 2>&1)
        [ "$got" = "$1" ] && return
        [ "$SECONDS" -lt "$deadline" ] || { echo "wanted $1, got $got: $2"; return 1; }
        sleep 0.05
    done
}

until_rows() { until_sql "$1" "select count(*) from ${2:-events}"; }

# Fresh tables without a new server; ringmain must not run.
drop_tables() {
    sql 'set client_min_messages = warning; drop schema public cascade; create schema public' && rm -rf "$TMP/spool"
}

# ── ringmain ─────────────────────────────────────────────────────────────────────────────────────

# A port below those that the kernel gives to clients: after a kill nobody else gets it before the restart.
free_port() {
    "$PYTHON" -c '
import random, socket
while True:
    port = random.randint(15000, 32000)
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(port)
        break'
}

# start_ringmain [-o section.key=value]…: a later -o wins over what is given here. Fails when it does not come up.
start_ringmain() {
    ringmain_arguments=("$@")
    launch -o "listen.tcp=127.0.0.1:$(free_port)" -o "listen.http=127.0.0.1:$(free_port)" \
        -o listen.metrics=127.0.0.1:0
}

# The same options and ports once more, after stop_ringmain or kill_ringmain; more -o may be given.
restart_ringmain() {
    ringmain_arguments+=("$@")
    launch -o "listen.tcp=$TCP" -o "listen.http=$HTTP" -o "listen.metrics=$METRICS"
}

launch() {
    rm -f "$TMP/ready"
    "$PROGRAM" serve -o node.name=blackbox -o node.pin=no -o "node.ready_file=$TMP/ready" \
        -o auth.required=no -o "spool.directory=$TMP/spool" -o "postgres.conninfo=$PG" -o postgres.retry_max_ms=500 \
        -o dedup.ids=2097152 "$@" "${ringmain_arguments[@]}" >>"$LOG" 2>&1 &
    PID=$!
    until [ -s "$TMP/ready" ]; do
        kill -0 "$PID" 2>/dev/null || {
            not_ok "ringmain starts" "$(tail -n 5 "$LOG")"
            PID=
            return 1
        }
        sleep 0.01
    done
    . "$TMP/ready"
    export TCP HTTP METRICS PID
}

# As an operator does. Returns its exit status.
stop_ringmain() {
    local pid=$PID
    PID=
    [ -n "$pid" ] || return 0
    kill -TERM "$pid" && wait "$pid"
}

# As a power cut does, for a process.
kill_ringmain() {
    local pid=$PID
    PID=
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null
    true
}

# The value of one metric: all its label sets together, or with NAME{labels} that one.
metric() {
    curl -s --max-time 5 "http://$METRICS/metrics" |
        awk -v name="$1" '$0 !~ /^#/ { n = $1; sub(/{.*/, "", n); if (n == name || $1 == name) { sum += $NF; seen = 1 } }
                          END { if (seen) printf "%.10g\n", sum; else exit 1 }'
}
metric_is() { [ "$(metric "$1")" = "$2" ]; }
metric_at_least() { local n; n=$(metric "$1") && awk "BEGIN { exit !($n >= $2) }"; }

# ── events ───────────────────────────────────────────────────────────────────────────────────────

# The name of a file with 9,999 events with ids: real ones if they are beside the repository, else made.
event_file() {
    local file
    for file in "${EVENTS_FILE:-}" ../shared/data/web-access.ndjson ../../shared/data/web-access.ndjson; do
        [ -s "$file" ] && { echo "$file"; return; }
    done
    [ -s "$TMP/events.ndjson" ] || "$PYTHON" "$BLACKBOX/make_events.py" 9999 >"$TMP/events.ndjson"
    echo "$TMP/events.ndjson"
}

# send FILE [options of ringmain send]…: over TCP unless --to says else.
send() { "$PROGRAM" send --quiet --to "tcp://$TCP" "$@"; }

# One connection of nc: standard input to the TCP door, then a half-close; prints what the door says.
nc_tcp() { nc -N -w 20 "${TCP%:*}" "${TCP##*:}"; }

end_all() {
    [ -z "$PID" ] || { kill -KILL "$PID"; wait "$PID"; } 2>/dev/null
    [ ! -d "$TMP/pg" ] || bash tests/tools/postgres.sh remove "$TMP/pg" 2>/dev/null
    rm -rf "$TMP"
}
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
