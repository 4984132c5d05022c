#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""limits.events_per_second = 100, tcp.ack_interval_ms = 200, limits.header_ms = 300."""
import time

from kit import Producer, case, database, finish, holds, same, until

with case("more than limits.events_per_second: RATE_LIMITED, each by its number, the others stored"):
    with Producer({"ack": "spooled"}).greeted() as producer:
        began = time.monotonic()
        producer.send(*({"type": "fast"} for _ in range(1000)))
        producer.until_ack(1000)
        took = time.monotonic() - began
        same(set(producer.rejects.values()), {"RATE_LIMITED"})
        holds("limits.events_per_second" in producer.messages[1000], producer.messages[1000])
        good = 1000 - len(producer.rejects)
        holds(90 <= good <= 210 + 100 * took, good, took)
    until(good, lambda: database.one("select count(*) from events where type = 'fast'"))

with case("another connection has its own allowance"):
    with Producer({"ack": "spooled"}).greeted() as producer:
        producer.send(*({"type": "slow"} for _ in range(50)))
        producer.until_ack(50)
        same(producer.rejects, {})

with case("acks of one connection keep tcp.ack_interval_ms between them"):
    with Producer({"ack": "spooled"}).greeted() as producer:
        began = time.monotonic()
        for _ in range(50):
            producer.send({"type": "even"})
            time.sleep(0.01)
        producer.until_ack(50)
        holds(len(producer.acks) <= (time.monotonic() - began) / 0.2 + 2, producer.acks)

with case("a first line that does not come to its end is told so, and closed"):
    with Producer() as producer:
        producer.raw(b'{"hello":')
        lines = producer.rest()
        same(len(lines), 1)
        holds("error" in lines[0], lines)

with case("a connection that says nothing may stay"):
    with Producer() as producer:
        time.sleep(0.5)
        producer.send({"hello": {}}, {"type": "late"})
        producer.greeted().until_ack(1)
finish()
