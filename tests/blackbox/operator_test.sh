#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Whoever runs ringmain: mistakes in the configuration, ports and directories that are taken, stopping under load, signals,
# the command line, metrics, health, the log.
. "$(dirname "$0")/lib.sh"
export LOG
door() { cases "$PYTHON" "$BLACKBOX/operator_door.py" "$@"; }
new_server() { start_ringmain -o dedup.ids=65536 -o spool.segment_bytes=1m -o spool.bytes=64m "$@" || finish; }
health() { curl -s --max-time 5 "http://$HTTP/health"; }
until_health() { until_true 30 eval "health | grep -q '$1'"; }

# refused NAME STATUS REGEX COMMAND…: it ends at once with this status, and says so.
refused() {
    local name=$1 wanted=$2 regex=$3 said status
    shift 3
    said=$(timeout 20 "$@" 2>&1)
    status=$?
    same "$name: exit status" "$wanted" "$status"
    like "$name: what it says" "$regex" "$said"
}

# ── mistakes in the configuration ────────────────────────────────────────────────────────────────

mistakes() {
    local file=$TMP/wrong.conf
    printf '[spool]\ndirectory = %s\n[limits]\nevnt_bytes = 1k\nconnections = many\nevent_bytes = 1g\n[lsten]\ntcp = x\n' \
        "$TMP/nowhere" >"$file"
    for command in check serve; do
        refused "$command: a typo" 1 "^$file:4: .*evnt_bytes.*event_bytes\?" "$PROGRAM" "$command" -c "$file"
        refused "$command: no number" 1 "^$file:5: limits.connections = many: .*1 to 1000000" "$PROGRAM" "$command" -c "$file"
        refused "$command: out of bounds" 1 "^$file:6: limits.event_bytes = 1g: .*256 to 224k" "$PROGRAM" "$command" -c "$file"
        refused "$command: a wrong section" 1 "^$file:[78]: .*\[lsten\].*\[listen\]\?" "$PROGRAM" "$command" -c "$file"
    done
    refused "a typo behind -o" 1 'batch.linger_mz.*linger_ms\?' "$PROGRAM" check -o batch.linger_mz=1
    refused "a wrong word behind -o" 1 'auth.required = perhaps: must be yes or no' "$PROGRAM" check -o auth.required=perhaps
    like "a typo in the environment is warned of" 'RINGMAIN_SPOOL_DIRECTRY.*RINGMAIN_SPOOL_DIRECTORY\?' \
        "$(RINGMAIN_SPOOL_DIRECTRY=/x "$PROGRAM" check 2>&1)"
    refused "no such file" 1 'nowhere.conf: No such file' "$PROGRAM" check -c "$TMP/nowhere.conf"
    refused "a bad stream" 1 'bigit.*allowed: text, bigint' "$PROGRAM" check -o "stream orders.columns=a bigit from data.a"
    check "nothing was made" [ ! -e "$TMP/nowhere" ]
}

# file NAME REGEX TEXT: a configuration with this text is refused.
file() {
    printf "$3" >"$TMP/file.conf"
    refused "a file with $1" 1 "$2" "$PROGRAM" check -c "$TMP/file.conf"
}

files() {
    file "a key twice" 'file.conf:4: batch.max_rows is given twice, first in line 2' '[batch]\nmax_rows = 1\n[batch]\nmax_rows = 2\n'
    file "a stream's key twice" 'file.conf:3: columns in \[stream x\] is given twice' \
        '[stream x]\ncolumns = a bigint from data.a\ncolumns = b bigint from data.b\n'
    file "a section in capitals" 'unknown section \[Batch\]; did you mean \[batch\]\?' '[Batch]\nmax_rows = 1\n'
    file "a section that there is not" 'unknown section \[nosuch\]; there are node, .*, stream NAME, key NAME' '[nosuch]\nx = 1\n'
    file "a section without its name" 'section \[stream\] needs a name' '[stream]\ntable = x\n'
    file "a comment behind a value" 'max_rows = 1 ; one: must be a number from 1' '[batch]\nmax_rows = 1 ; one\n'
    file "a wrong unit" '10kb: must be a number of bytes.*suffixes k, m, g, t' '[batch]\nmax_bytes = 10kb\n'
    file "bytes that are no text" 'file.conf:1: a NUL byte: not a text file' '\xff\xfeb\0a\0'
    file "one port for two doors" 'listen.tcp and listen.http are both 127.0.0.1:7' '[listen]\ntcp = 127.0.0.1:7\nhttp = 127.0.0.1:7\n'
    file "a type that is none" '\[stream x\] event type .a!.: allowed' '[stream x]\ncolumns = a bigint from data.a\ntypes = a!\n'
    file "a secret that is not there" '\[key k\] secret_file /none: No such file' '[key k]\nalgorithm = HS256\nsecret_file = /none\n'
    file "a key that is none" 'key "k": not a public key' '[key k]\nalgorithm = RS256\npem_file = /etc/passwd\n'
    file "no key set" 'auth.jwks_file /none: No such file' '[auth]\njwks_file = /none\n'
    file "a wrong conninfo" 'postgres.conninfo is neither' '[postgres]\nconninfo = hots=localhost password=geheim\n'
    file "a look-up without its question" 'directory.project_sql must speak of the project as \$1' '[directory]\nproject_sql = select 1, true\n'
    file "a look-up with too many" 'directory.room_sql must speak of the room as \$1' '[directory]\nroom_sql = select \$4::bool\n'
    refused "a directory for a file" 1 ': Is a directory' "$PROGRAM" check -c "$TMP"
    refused "an option without its section" 1 'an option is given as -o section.key=value' "$PROGRAM" check -o max_rows=1
    printf '\xef\xbb\xbf[batch]\r\n\tmax_rows\t=\t77\t\r\n' >"$TMP/file.conf"
    like "a byte order mark, tabs and CRLF are nothing wrong" '^max_rows = 77$' "$("$PROGRAM" check -c "$TMP/file.conf" --print 2>&1)"
}

# A start may take its time, and whoever has second thoughts must not have to wait.
stop_while_starting() {
    mkfifo "$TMP/never"
    "$PROGRAM" serve -o auth.required=no -o "auth.jwks_file=$TMP/never" -o "spool.directory=$TMP/never.spool" >>"$LOG" 2>&1 &
    local pid=$!
    waits() { [ "$(cat "/proc/$pid/comm")" = ringmain ] && grep -q '^State:.S' "/proc/$pid/status"; }
    check "a start that waits for its key" until_true 10 waits
    kill -HUP "$pid"
    kill -TERM "$pid"
    until_true 5 eval "! kill -0 $pid" || kill -KILL "$pid"
    wait "$pid"
    same "SIGTERM ends it, and SIGHUP does not" 143 $?
}

command_line() {
    refused "version" 0 '^ringmain [0-9]+\.[0-9]+\.[0-9]+$' "$PROGRAM" version
    refused "help" 0 'serve.*check.*token.*send.*version' bash -c "'$PROGRAM' help | tr '\n' ' '"
    refused "no command" 2 'ringmain serve\|check' "$PROGRAM"
    refused "an unknown command" 2 'there is no command servr' "$PROGRAM" servr
    for command in serve check token send; do
        refused "$command --help" 0 '--' "$PROGRAM" "$command" --help
        refused "$command --hepl" 2 "no option --hepl: did you mean --help" "$PROGRAM" "$command" --hepl
    done
    local key=(-o auth.required=no -o key.default.algorithm=HS256)
    refused "a token without a key" 1 'there is no \[key default\]' "$PROGRAM" token
    refused "a token by a directory" 1 'the secret of \[key default\]: Is a directory' "$PROGRAM" token "${key[@]}" -o "key.default.secret_file=$TMP"
    head -c 17000 /dev/zero | tr '\0' x >"$TMP/long"
    refused "a token by a secret that is too long" 1 'the secret of \[key default\]: File too large' \
        "$PROGRAM" token "${key[@]}" -o "key.default.secret_file=$TMP/long"
    refused "the same in the configuration" 1 'the secret of \[key default\]: File too large' \
        "$PROGRAM" token "${key[@]}" -o "key.default.secret=$(cat "$TMP/long")"
    like "check says that it is good" 'is good: 3 streams' "$("$PROGRAM" check -o auth.required=no 2>&1)"
    printf '[batch]\nlinger_ms = 7\nmax_rows = 8\npreset = small\n' >"$TMP/a.conf"
    like "a file, the environment and -o, in this order" 'linger_ms = 7 max_rows = 9 max_bytes = 10000 ' \
        "$(RINGMAIN_BATCH_MAX_ROWS=9 RINGMAIN_BATCH_MAX_BYTES=9999 "$PROGRAM" check -c "$TMP/a.conf" -o batch.max_bytes=10000 \
            --print 2>&1 | sed -n '/^\[batch\]/,/^\[/{/^linger_ms\|^max_/p}' | sort -r -k1.2 | sort -k1,1 |
            awk '{ value[$1] = $0 } END { print value["linger_ms"], value["max_rows"], value["max_bytes"], "" }')"
    "$PROGRAM" check --print -o auth.required=no 2>/dev/null >"$TMP/printed.conf"
    same "what --print says can be read again" "$(cat "$TMP/printed.conf")" "$("$PROGRAM" check --print -c "$TMP/printed.conf" 2>&1)"
    "$PROGRAM" check --sql 2>/dev/null >"$TMP/tables.sql"
    check "what --sql says makes the tables" psql -X -q -v ON_ERROR_STOP=1 -d "$PG" -f "$TMP/tables.sql"
    same "three of them, and ringmain's own two" 5 "$(sql "select count(*) from pg_tables where schemaname = 'public'")"
    start_ringmain -o dedup.ids=65536 -o postgres.create_tables=no || finish
    same "and that is all that is needed" '{"accepted":1,"duplicates":0,"rejected":[]}' \
        "$(curl -s --max-time 10 "http://$HTTP/events?ack=stored" -d '{"type":"t"}')"
    stop_ringmain
    drop_tables
}

# ── what somebody else has ───────────────────────────────────────────────────────────────────────

taken() {
    local serve=("$PROGRAM" serve -o node.name=blackbox -o auth.required=no -o dedup.ids=65536 -o "postgres.conninfo=$PG"
        -o listen.tcp=127.0.0.1:0 -o listen.http=127.0.0.1:0 -o listen.metrics=127.0.0.1:0)
    refused "the spool is in use" 1 "$TMP/spool.*(in use|another process)" "${serve[@]}" -o "spool.directory=$TMP/spool"
    for door in "tcp $TCP" "http $HTTP" "metrics $METRICS"; do
        refused "the ${door% *} port is in use" 1 "${door#* }: another program listens there" \
            "${serve[@]}" -o "spool.directory=$TMP/other" -o "listen.${door% *}=${door#* }"
    done
    refused "the spool is another node's" 1 "other.*blackbox" "${serve[@]}" -o "spool.directory=$TMP/other" -o node.name=else
    refused "a directory that can't be made" 1 "spool.directory /proc/none: No such file" "${serve[@]}" -o spool.directory=/proc/none
    refused "a directory without the one above it" 1 "spool.directory $TMP/a/b: No such file.*above it" "${serve[@]}" -o "spool.directory=$TMP/a/b"
    if [ "$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)" -lt 100000000 ]; then # it would want 116 GB
        refused "more ids than the machine has memory for" 1 'no memory for 4294967296 ids \(dedup.ids\)' \
            "${serve[@]}" -o "spool.directory=$TMP/other" -o dedup.ids=4294967296
    fi
    refused "a ready file that can't be written" 1 "node.ready_file /none/x: No such file" \
        "${serve[@]}" -o "spool.directory=$TMP/other" -o node.ready_file=/none/x
    if [ "$(stat -f -c %T /dev/shm)" = tmpfs ]; then
        local memory
        memory=$(mktemp -d -p /dev/shm)
        refused "a spool in memory is warned of" 1 "spool.directory $memory is in memory \(tmpfs\)" \
            "${serve[@]}" -o "spool.directory=$memory" -o node.ready_file=/none/x
        rm -rf "$memory"
    fi
    same "and the first one still works" '{"status":"ok"}' "$(curl -s "http://$HTTP/livez")"
}

# ── stopping ─────────────────────────────────────────────────────────────────────────────────────

# stop_under_load SIGNAL
stop_under_load() {
    new_server
    door load &
    local producers=$!
    accepted() { [ "$(metric ringmain_events_accepted_total)" -gt 2000 ]; }
    check "$1: there is a load" until_true 30 accepted
    kill -"$1" "$PID"
    wait "$PID"
    same "$1 under load ends with 0" 0 $?
    PID=
    wait "$producers"
    same "$1: the producers have noticed" 0 $?
    door after
    same "$1: what was not acknowledged is not doubled either" 0 \
        "$(sql 'select count(*) from (select id from events group by id having count(*) > 1) as twice')"
}

# With Postgres away a drain takes its time; a second signal, not just an echo of the first, ends it.
stop_twice() {
    new_server -o node.shutdown_s=600
    same "an event" '{"accepted":1,"duplicates":0,"rejected":[]}' "$(curl -s "http://$HTTP/events" -d '{"id":"twice","type":"t"}')"
    check "it is stored" until_sql 1 "select count(*) from events where id = 'twice'"
    stop_postgres immediate
    check "/health says that Postgres is away" until_health '"status":"degraded","postgres":"\(down\|connecting\)".*"reason":"'
    same "events are still taken in" '{"accepted":1,"duplicates":0,"rejected":[]}' \
        "$(curl -s "http://$HTTP/events" -d '{"id":"thrice","type":"t"}')"
    kill -TERM "$PID"
    while kill -TERM "$PID" 2>/dev/null; do sleep 0.1; done # it takes those of the first second for echoes
    wait "$PID"
    same "a second SIGTERM ends it at once" 143 $?
    PID=
    start_postgres
    restart_ringmain || finish
    check "what was acknowledged is there after the next start" until_sql 1 "select count(*) from events where id = 'thrice'"
    check "/health is well" until_health '"status":"ok","postgres":"up"'
    stop_postgres immediate
    check "/health says it again" until_health degraded
    start_postgres
    check "and is well again by itself" until_health '"status":"ok"'
    kill -HUP "$PID"
    same "SIGHUP harms nobody" '{"accepted":1,"duplicates":0,"rejected":[]}' \
        "$(curl -s "http://$HTTP/events?ack=stored" -d '{"type":"t"}')"
    stop_ringmain
    same "SIGTERM with nothing to do ends with 0" 0 $?
}

# The spool is full, Postgres is away: what was accepted but has no place on the disk was never acknowledged.
stop_when_full() {
    rm -rf "$TMP/spool"
    stop_postgres immediate
    start_ringmain -o dedup.ids=65536 -o spool.segment_bytes=1m -o spool.bytes=4m -o node.shards=1 -o node.shutdown_s=1 || finish
    "$PYTHON" -c 'for n in range(600): print("{\"id\":\"full-%d\",\"type\":\"t\",\"data\":\"%s\"}" % (n, "x" * 20000))' >"$TMP/full"
    send "$TMP/full" >"$TMP/send.out" 2>&1 &
    local sender=$!
    full() { [ "$(metric ringmain_spool_pressure_level)" -ge 2 ]; }
    check "the spool is full" until_true 30 full
    kill -TERM "$PID"
    until_true 20 eval "! kill -0 $PID"
    same "SIGTERM with a full spool ends within node.shutdown_s and a little" 0 $?
    wait "$PID"
    same "and with 0" 0 $?
    PID=
    start_postgres
    restart_ringmain -o node.shutdown_s=30 || finish
    wait "$sender"
    same "the producer goes on when it is back" 0 $?
    check "and all is there once" until_sql '600|600' "select count(*), count(distinct id) from events where id like 'full-%'"
    stop_ringmain
    same "it ends with 0" 0 $?
}

# ── all of it ────────────────────────────────────────────────────────────────────────────────────

mistakes
files
stop_while_starting
start_postgres
command_line
new_server
door metrics
taken
stop_ringmain
same "SIGTERM ends with 0" 0 $?
stop_under_load TERM
stop_under_load INT
stop_twice
stop_when_full
door logfmt

rm -rf "$TMP/spool"
: >"$LOG"
new_server -o log.format=json -o postgres.conninfo=
like "without a Postgres stored can't be had" 'INVALID_FIELD.*postgres.conninfo' \
    "$(curl -s "http://$HTTP/events?ack=stored" -d '{"type":"t"}')"
like "and /health says off" '"postgres":"off"' "$(health)"
stop_ringmain
same "it ends with 0 without a Postgres" 0 $?
door logjson
finish
