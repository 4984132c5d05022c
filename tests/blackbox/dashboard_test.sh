#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# GET /: the dashboard, and where a Chromium is installed what it makes of it (SCREENSHOT=FILE keeps a picture).
. "$(dirname "$0")/lib.sh"

SECRET=a-secret-of-the-dashboard-test-that-is-long-enough
start_ringmain -o node.shards=2 -o auth.required=yes -o key.default.algorithm=HS256 -o "key.default.secret=$SECRET" || finish
token=$("$PROGRAM" token -o key.default.algorithm=HS256 -o "key.default.secret=$SECRET" -u ops -s 'ingest ingest:any admin')
curl -s --max-time 20 -D "$TMP/head" -o "$TMP/page" "http://$HTTP/"
like "GET / is the dashboard, without a token" '^HTTP/1.1 200' "$(cat "$TMP/head")"
check "as it stands in the tree" cmp "$TMP/page" metrics/dashboard/index.html
like "as HTML" '^Content-Type: text/html; charset=utf-8' "$(tr -d '\r' <"$TMP/head")"
like "with a policy that lets nothing else in" "^Content-Security-Policy: default-src 'none';" "$(cat "$TMP/head")"
same "it asks for nothing from elsewhere" 0 "$(grep -cE '(src|href)="?(https?:)?//' "$TMP/page")"
same "HEAD too" 200 "$(curl -s --max-time 20 -o /dev/null -w '%{http_code}' -I "http://$HTTP/")"

chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
if [ -n "$chromium" ]; then
    need_npm puppeteer-core@22
    cases node "$BLACKBOX/dashboard.mjs" "$NPM" "$chromium" "$HTTP" "$token" "${SCREENSHOT:-}"
else
    echo "# no Chromium here: the page was not looked at by a browser"
fi
finish
