#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Load while the configuration is read again and again: HTTP connections that are kept, each request with the token
that stands in $TMP/token at the moment, and TCP producers that said hello once. Until $TMP/stop is there; then says
whether any request failed, any connection ended, and any event was not acknowledged."""
import http.client
import json
import os
import threading
import time

from kit import Producer, case, finish, holds, same

TMP, STOP = os.environ["TMP"], os.path.join(os.environ["TMP"], "stop")
HTTP_CONNECTIONS, TCP_CONNECTIONS = 4, 2
trouble, requests, events = [], [0] * HTTP_CONNECTIONS, [0] * TCP_CONNECTIONS


def token():
    with open(os.path.join(TMP, "token")) as file:
        return file.read().strip()


def by_http(index):
    connection = http.client.HTTPConnection(os.environ["HTTP"], timeout=30)
    connection.connect()
    first = connection.sock
    while not os.path.exists(STOP) and len(trouble) < 5:
        bearer = token()
        connection.request("POST", "/events", json.dumps({"type": "reload", "data": {"by": index}}),
                           {"Authorization": "Bearer " + bearer})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 202 or json.loads(body)["accepted"] != 1:
            trouble.append((answer.status, body))
        requests[index] += 1
        if connection.sock is not first:
            trouble.append("a new connection was needed")
            return


def by_tcp(index):
    with Producer({"token": token(), "ack": "spooled"}) as producer:
        producer.greeted()
        while not os.path.exists(STOP) and len(trouble) < 5:
            events[index] += 10
            producer.send(*({"type": "reload", "data": {"by": "tcp"}} for _ in range(10)))
            producer.until_ack(events[index])


def guarded(function, index):
    try:
        function(index)
    except Exception as error:
        trouble.append(repr(error))


threads = [threading.Thread(target=guarded, args=(by_http, i)) for i in range(HTTP_CONNECTIONS)]
threads += [threading.Thread(target=guarded, args=(by_tcp, i)) for i in range(TCP_CONNECTIONS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with case("every request on every connection was answered well"):
    same(trouble, [])
with case("and there were some"):
    holds(min(requests) > 20 and min(events) > 100, requests, events)
print("#", sum(requests), "requests,", sum(events), "events by TCP")
finish()
