#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""make_events.py N: events in the shape of a web server's log on standard output, always the same ones."""
import json
import random
import sys

random.seed(4)
PAGES = ["/", "/index.html", "/articles/größe", "/search?q=\"exact\"&page=2", "/images/logo.png", "/style.css"]
AGENTS = ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "curl/7.88.1", "Googlebot/2.1 (+http://x.test/\t)"]


def event(number):
    user = "u-%010x" % random.randrange(1 << 40)
    path = random.choice(PAGES)
    kind = "asset" if path.endswith(("png", "css")) else "page_view"
    day, second = divmod(number * 37, 86400)
    return {
        "id": "wa-%05d" % number,
        "type": kind if random.random() > 0.02 else "error",
        "tenantId": "t-%d" % random.randrange(8),
        "userId": user,
        "sessionId": "%s-%d" % (user, day),
        "timestamp": "2015-05-%02dT%02d:%02d:%02dZ" % (17 + day % 10, second // 3600, second // 60 % 60, second % 60),
        "data": {
            "method": "GET",
            "path": path,
            "status": random.choice([200, 200, 200, 304, 404]),
            "bytes": random.choice([None, 0, random.randrange(1 << 33), 1.5e3]),
            "referrer": "http://example.test" + random.choice(PAGES),
            "userAgent": random.choice(AGENTS),
            "nested": {"list": [1, -2.5, True, None, "x\n"], "empty": {}},
        },
    }


for n in range(int(sys.argv[1])):
    print(json.dumps(event(n), ensure_ascii=n % 2 == 0, separators=(",", ":")))
