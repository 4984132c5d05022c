#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A private Postgres for development, tests and measuring: everything of it lies in one directory, nothing of the
# system's own Postgres is touched, and no TCP port is opened unless asked for.
#
#   postgres.sh start DIR [port=N] [fsync=on|off] [SETTING=VALUE …]   makes the cluster if absent, starts it if it
#                                                      does not run, and prints its connection string (and only that)
#   postgres.sh stop DIR [fast|immediate|smart]        does nothing if it does not run
#   postgres.sh pid DIR                                the postmaster's process id
#   postgres.sh remove DIR                             stops it and deletes its files
#
# Role and database are both called ringmain; local connections are trusted. Without port=N only a Unix socket is
# opened. SETTING=VALUE is any server setting, such as max_wal_size=4GB. Run by root, the server runs as `postgres`.
set -eu

die() {
    echo "postgres.sh: $*" >&2
    exit 1
}

usage() {
    sed -n '/^#   postgres/,/^# opened/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

# Debian keeps initdb and pg_ctl out of PATH: take the newest version that is there.
bindir() {
    for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -rn) \
               "$(pg_config --bindir 2>/dev/null || true)"; do
        if [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ]; then
            echo "$dir"
            return
        fi
    done
    die "no Postgres server found (apt-get install postgresql)"
}

# Postgres refuses to run as root. The directory may lie where `postgres` may not look (/root/…): then the server is
# allowed to pass, rather than everybody.
as_server() {
    if [ "$(id -u)" != 0 ]; then
        "$@"
    elif runuser -u postgres -- test -x "$base"; then
        (cd / && runuser -u postgres -- "$@")
    else
        (cd / && setpriv --reuid=postgres --regid=postgres --clear-groups \
            --inh-caps=+dac_override --ambient-caps=+dac_override "$@")
    fi
}

running() {
    as_server "$bin/pg_ctl" status -D "$data" >/dev/null 2>&1
}

# A socket's path has at most 107 bytes, so a long DIR gets a short stand-in.
socket_directory() {
    if [ ${#base} -le 80 ]; then
        echo "$base/socket"
    else
        echo "/tmp/ringmain-pg-$(printf %s "$base" | cksum | cut -d ' ' -f 1)"
    fi
}

quoted() {
    case $1 in
    *[!A-Za-z0-9/._-]*) printf "'%s'" "$(printf %s "$1" | sed "s/[\\\\']/\\\\&/g")" ;;
    *) printf %s "$1" ;;
    esac
}

create() {
    mkdir -p "$base" "$data" "$socket"
    chmod 700 "$data"
    if [ "$(id -u)" = 0 ]; then
        chown postgres: "$base" "$data" "$socket"
    fi
    [ -f "$data/PG_VERSION" ] ||
        as_server "$bin/initdb" -D "$data" -U ringmain -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
            >"$base/initdb.log" 2>&1 || die "initdb failed, see $base/initdb.log"
}

start() {
    port=5432
    listen=
    settings=
    for word in "$@"; do
        case $word in
        port=*) port=${word#port=} listen=127.0.0.1 ;;
        *[\ \'\"]*) die "a setting may not hold blanks or quotes: $word" ;;
        *=*) settings="$settings -c $word" ;;
        *) usage ;;
        esac
    done
    create
    if ! running; then
        as_server "$bin/pg_ctl" start -w -t 60 -s -D "$data" -l "$base/log" -o "-c listen_addresses='$listen' \
            -c port=$port -c unix_socket_directories='$socket' -c unix_socket_permissions=0700 $settings" \
            >/dev/null </dev/null || die "it did not start, see $base/log"
        printf 'host=%s port=%s user=ringmain dbname=ringmain\n' "$(quoted "$socket")" "$port" >"$base/conninfo"
    fi
    "$bin/psql" -X -q "$(sed 's/dbname=ringmain/dbname=template1/' "$base/conninfo")" >/dev/null <<'SQL'
select 'create database ringmain' where not exists (select from pg_database where datname = 'ringmain') \gexec
SQL
    cat "$base/conninfo"
}

stop() {
    if [ -d "$data" ] && running; then
        as_server "$bin/pg_ctl" stop -w -s -D "$data" -m "${1:-fast}" >/dev/null
    fi
}

[ $# -ge 2 ] || usage
verb=$1
case $2 in /*) base=$2 ;; *) base=$PWD/$2 ;; esac
shift 2
data=$base/data
bin=$(bindir)
socket=$(socket_directory)
case $verb in
start) start "$@" ;;
stop) stop "$@" ;;
pid) head -n 1 "$data/postmaster.pid" ;;
remove)
    stop immediate
    rm -rf "$base" "$socket"
    ;;
*) usage ;;
esac
