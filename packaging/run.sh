#!/usr/bin/env bash
# `make run`: a private Postgres under var/, ringmain on loopback, Ctrl-C stops both; the data stays.
# Settings from the environment: RINGMAIN_POSTGRES (use that server), RINGMAIN_TCP, RINGMAIN_HTTP, RINGMAIN_METRICS
# (address:port of each door).
set -euo pipefail
cd "$(dirname "$0")/.."
program=$1
var=$PWD/var
mkdir -p "$var"
chmod 755 "$var"

exec 9>"$var/run.lock"
flock -n 9 || { echo "make run is already running here (var/run.lock); stop it first, or see var/run.env" >&2; exit 1; }

started_postgres=
pid=
stop() {
    trap '' INT TERM HUP
    if [ -n "$pid" ]; then
        echo "stopping ringmain"
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    fi
    rm -f "$var/run.env" "$var/ready"
    [ -z "$started_postgres" ] || { echo "stopping Postgres"; bash tests/tools/postgres.sh stop "$var/postgres" 9>&-; }
}
trap stop EXIT
trap 'exit 0' INT TERM HUP

if [ -n "${RINGMAIN_POSTGRES:-}" ]; then
    conninfo=$RINGMAIN_POSTGRES
else
    echo "starting Postgres in var/postgres"
    started_postgres=yes
    conninfo=$(bash tests/tools/postgres.sh start "$var/postgres" 9>&-)
fi

# A secret of this checkout's own, for development tokens.
if [ ! -s "$var/secret" ]; then
    (umask 077; od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$var/secret")
fi
cat >"$var/ringmain.conf" <<CONF
# Made anew by every make run; loopback only, tokens not demanded.
[node]
name = development
ready_file = $var/ready
[listen]
tcp = ${RINGMAIN_TCP:-127.0.0.1:7070}
http = ${RINGMAIN_HTTP:-127.0.0.1:8080}
metrics = ${RINGMAIN_METRICS:-127.0.0.1:9464}
[auth]
required = no
[key default]
algorithm = HS256
secret_file = $var/secret
[spool]
directory = $var/spool
CONF
rm -f "$var/ready"
RINGMAIN_POSTGRES=$conninfo setsid "$program" serve -c "$var/ringmain.conf" 9>&- &
pid=$!
until [ -s "$var/ready" ]; do
    kill -0 "$pid" 2>/dev/null || { wait "$pid" && status=0 || status=$?; pid=; echo "ringmain did not start (exit $status); its last lines say why" >&2; exit 1; }
    sleep 0.05
done
token=$("$program" token -c "$var/ringmain.conf" --user demo --scope "ingest ingest:any publish publish:all admin stats" --days 30)
. "$var/ready"
{
    printf 'RINGMAIN_POSTGRES=%q\n' "$conninfo"
    printf 'RINGMAIN_TOKEN=%q\n' "$token"
    printf 'RINGMAIN_HTTP=%q\nRINGMAIN_TCP=%q\nRINGMAIN_GRPC=%q\nRINGMAIN_METRICS=%q\nRINGMAIN_PID=%q\n' \
        "$HTTP" "$TCP" "" "$METRICS" "$pid"
} >"$var/run.env.new"
mv "$var/run.env.new" "$var/run.env"
cat <<TEXT

ringmain is up.   HTTP and WebSocket $HTTP   TCP $TCP   metrics $METRICS
Postgres: psql '$conninfo'
a token for user demo with every scope: $token
the dashboard: http://$HTTP/#token=$token

three things to try, from another terminal:
  echo '{"type":"hello","data":{"from":"nc"}}' | nc -N ${TCP/:/ }
  curl -s http://$HTTP/events -H 'content-type: application/json' -d '{"type":"signup","userId":"u1","data":{"plan":"pro"}}'
  psql '$conninfo' -c 'select type, user_id, data, received_at from events order by received_at desc limit 5'

Ctrl-C stops ringmain and Postgres; the data stays in var/.
TEXT
wait "$pid" && status=0 || status=$?
pid=
exit "$status"
