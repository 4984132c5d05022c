#!/bin/sh
# Installs what building, testing and `make run` need, on Debian 12. Does nothing, quickly, if all is there.
set -eu
packages="gcc clang make pkg-config liburing-dev libpq-dev libjwt-dev libinih-dev zlib1g-dev libxxhash-dev libssl-dev
 node-llhttp libcmocka-dev libclang-rt-14-dev clang-format clang-tidy postgresql postgresql-client curl
 netcat-openbsd nodejs npm python3 python3-websockets python3-psycopg2 gnuplot-nox openssl procps git patch"
command -v dpkg-query >/dev/null || { echo "deps: not a Debian system: install the equivalents of:$packages" >&2; exit 0; }
missing=
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
# A node and npm that came another way will do as well.
for tool in nodejs npm; do
    case " $missing " in *" $tool "*)
        command -v "$(echo "$tool" | sed s/nodejs/node/)" >/dev/null && missing=$(echo "$missing" | sed "s/ $tool\b//") ;;
    esac
done
[ -z "$missing" ] && exit 0
echo "installing:$missing"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "deps: could not install:$missing" >&2
    exit 1
fi
