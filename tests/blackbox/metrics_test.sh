#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# /metrics passes what `promtool check metrics` checks (promlint.py), with connections at every kind of door, and whatever
# clients call their rooms, tenants and messages.
. "$(dirname "$0")/lib.sh"

printf 'a secret of the black-box tests, 32 bytes and more' >"$TMP/secret"
start_postgres
start_ringmain -o node.shards=2 -o auth.required=yes -o key.default.algorithm=HS256 -o "key.default.secret_file=$TMP/secret" ||
    finish
cases "$PYTHON" "$BLACKBOX/metrics_lint.py" rules
cases "$PYTHON" "$BLACKBOX/metrics_lint.py" loaded
check "ringmain stops well" stop_ringmain
finish
