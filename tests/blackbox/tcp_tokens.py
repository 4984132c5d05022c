#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""auth.required = yes: who may speak, and for whom."""
import os

from kit import Producer, case, database, finish, holds, same

TOKEN, TOKEN_ANY, TOKEN_OTHER = (os.environ[name] for name in ("TOKEN", "TOKEN_ANY", "TOKEN_OTHER"))


def stored(kind):
    return database.rows("select user_id, tenant_id from events where type = %s order by 1, 2", kind)


def refused(hello, why=""):
    with Producer(hello) as producer:
        producer.send({"type": "never"})
        lines = producer.rest()
        same(len(lines), 1)
        same(lines[0]["error"]["code"], "UNAUTHORIZED")
        holds(why in lines[0]["error"]["message"], lines)


with case("a hello without a token"):
    refused({"ack": "spooled"}, "token")
with case("a hello with nonsense for a token"):
    refused({"token": "nonsense"})
with case("a token whose signature is wrong"):
    head, body, signature = TOKEN.split(".")
    refused({"token": ".".join((head, body, signature[:-6] + "AAAAAA"))})
with case("a token with another's claims under its signature"):
    refused({"token": ".".join((TOKEN.split(".")[0], TOKEN_ANY.split(".")[1], TOKEN.split(".")[2]))})
with case("a token with alg none"):
    refused({"token": "eyJhbGciOiJub25lIn0." + TOKEN.split(".")[1] + "."})

with case("a good token: its user and tenant are filled in, the same values may be said"):
    with Producer({"token": TOKEN, "ack": "stored"}).greeted() as producer:
        producer.send({"type": "mine"}, {"type": "mine", "userId": "u1", "tenantId": "t1"})
        producer.until_ack(2)
        same(producer.rejects, {})
    same(stored("mine"), [("u1", "t1"), ("u1", "t1")])

with case("another user or tenant is FORBIDDEN, by name, and the neighbours are kept"):
    with Producer({"token": TOKEN, "ack": "stored"}).greeted() as producer:
        producer.send({"type": "theirs", "userId": "u2"}, {"type": "theirs"}, {"type": "theirs", "tenant_id": "t9"})
        producer.until_ack(3)
        same(producer.rejects, {1: "FORBIDDEN", 3: "FORBIDDEN"})
        holds("userId" in producer.messages[1] and "tenantId" in producer.messages[3], producer.messages)
    same(stored("theirs"), [("u1", "t1")])

with case("ingest:any may speak for others"):
    with Producer({"token": TOKEN_ANY, "ack": "stored", "producer": "p"}).greeted() as producer:
        producer.send({"type": "any", "userId": "u2", "tenantId": "t9"})
        producer.until_ack(1)
        same(producer.rejects, {})
    same(stored("any"), [("u2", "t9")])

with case("a producer's name is its user's: nobody else takes it over, or counts it on"):
    with Producer({"token": TOKEN, "ack": "spooled", "producer": "shared"}).greeted() as one:
        one.send({"type": "named"}, {"type": "named"}, {"type": "named"})
        one.until_ack(3)
        with Producer({"token": TOKEN_OTHER, "ack": "spooled", "producer": "shared"}).greeted() as other:
            same(other.welcome["resume"], 0)
            other.send({"type": "named"})
            other.until_ack(1)
        one.send({"type": "named"})
        one.until_ack(4)
    with Producer({"token": TOKEN_ANY, "ack": "spooled", "producer": "shared"}).greeted() as again:
        same(again.welcome["resume"], 4)

with case("a second key by its kid"):
    with Producer({"token": TOKEN_OTHER, "ack": "stored"}).greeted() as producer:
        producer.send({"type": "other"})
        producer.until_ack(1)
    same(stored("other"), [("u2", "t1")])
with case("nothing of the refused was stored"):
    same(stored("never"), [])
finish()
