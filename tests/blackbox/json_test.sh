#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# RFC 8259 at the HTTP door, case by case, and what Postgres then holds.
. "$(dirname "$0")/lib.sh"

start_postgres
start_ringmain -o dedup.ids=65536 || finish
cases "$PYTHON" "$BLACKBOX/json_door.py" door
same "Postgres had nothing to refuse" 0 "$(metric ringmain_events_dead_lettered_total)"
same "nor a batch" 0 "$(metric ringmain_batch_failures_total)"
stop_ringmain
same "it drains and ends with 0" 0 $?
finish
