#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""/metrics of a ringmain that everybody uses, under the rules of `promtool check metrics`; see metrics_test.sh."""
import json
import urllib.parse

from client import METRICS, Http, case, equal, fresh, get, post, run, token, until
from promlint import Malformed, lint, parse

# CONTRACTS.md 6 has this name, and it is kept for those who know it from there.
CONTRACT = [("websocket_connections_total", "_total and no counter")]
HOSTILE = ('a"b', "a\\b", "a\nb", "a{b}", 'a,b="c"', "}", "\u00e4\u20ac\U0001f600", "le", "x" * 120)


def families():
    return parse(get("/metrics", where=METRICS).body)


def series(name):
    return {tuple(labels.values()) for family in families() if family.name == name for _, labels in family.samples}


class Client:
    """A Socket.IO client by polling."""

    def __init__(self, **claims):
        self.http = Http()
        path = f"/socket.io/?EIO=4&transport=polling&token={token(**claims)}"
        self.path = f"{path}&sid={json.loads(self.http.ask('GET', path).body[1:])['sid']}"
        self.say("40")

    def say(self, packet):
        equal(self.http.ask("POST", self.path, packet.encode()).status, 200, packet)

    def emit(self, *what):
        self.say("42" + json.dumps(what))


@case("rules")
def each_rule_objects_to_what_breaks_it():
    good = b"# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c\\n\\\\\\\"\"} 1\na_total 2 1700000000000\n"
    equal(lint(parse(good)), [])
    for text in (good[:-1], b"a", b"a x\n", b"a 1_0\n", b"a{b} 1\n", b'a{b="c"\n', b'a{b="\\t"} 1\n', b'a{b="c",b="d"} 1\n',
                 b"1a 1\n", b"a 1 1.5\n", b"a 1 2 3\n", b"# TYPE a thing\na 1\n", b"a 1\n# TYPE a gauge\n",
                 b"# HELP a x\n# HELP a y\na 1\n", b"# HELP a \\t\na 1\n", b"a 1\nb 1\na 2\n", b'a{__name__="b"} 1\n'):
        try:
            parse(text)
        except Malformed:
            continue
        raise AssertionError(text)
    for name, kind, line, wanted in (
            ("a", "counter", "a 1", "a counter without _total"), ("a_total", "gauge", "a_total 1", "_total and no counter"),
            ("a_minutes", "gauge", "a_minutes 1", "use base unit seconds instead of minutes"),
            ("a_kibibytes", "gauge", "a_kibibytes 1", "use base unit bytes instead of kibibytes"),
            ("a_ms", "gauge", "a_ms 1", "an abbreviated unit"), ("a_gauge", "gauge", "a_gauge 1", "a type in the name"),
            ("a:b", "gauge", "a:b 1", "a colon in the name"), ("aB", "gauge", "aB 1", "camelCase"),
            ("a", "gauge", 'a{bC="1"} 1', "camelCase"), ("a", "gauge", "a 1\na 2", "a series twice"),
            ("a", "gauge", 'a{le="1"} 1', "_bucket or le, and no histogram"),
            ("a_bucket", "gauge", "a_bucket 1", "_bucket or le, and no histogram"),
            ("a_count", "gauge", "a_count 1", "_count or _sum, and neither histogram nor summary"),
            ("a", "gauge", 'a{quantile="1"} 1', "quantile, and no summary"),
            ("a_timestamp_seconds", "histogram", 'a_timestamp_seconds_bucket{le="1"} 1', "_timestamp_seconds and no gauge")):
        equal(lint(parse(f"# HELP {name} x\n# TYPE {name} {kind}\n{line}\n".encode())), [(name, wanted)])
    equal(lint(parse(b"# TYPE a gauge\na 1\n")), [("a", "no help text")])


@case("loaded")
def promtool_would_object_to_nothing_but_a_name_of_the_contract():
    equal(lint(families()), [])  # before there is a connection, and its family


@case("loaded")
def whatever_rooms_tenants_and_types_are_called():
    clients = []
    for number, name in enumerate(HOSTILE):
        clients.append(Client(sub=fresh("u"), tenantId=name, scope="ingest publish admin"))
        clients[-1].emit("join_room", {"roomId": name})
        clients[-1].emit("message", {"type": "user_status" if number % 2 else name, "data": {"status": name}})
        path = f"/sse?room={urllib.parse.quote(name, safe='')}&token={token(sub=name, tenantId=name)}"
        clients.append(Http())
        clients[-1].send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
    admin = {"Authorization": "Bearer " + token(sub="a", scope="ingest")}
    equal(post("/events?ack=stored", [{"type": "t", "userId": "a"}, {"type": "bad type"}], **admin).status, 202)
    equal(get("/nothing", **admin).status, 404)
    shown = {name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name in HOSTILE}
    for family, absent in (("websocket_room_connections", {"a\\nb"}),  # no room is called so
                           ("websocket_connections_total", set()), ("websocket_messages_total", set())):
        def all_shown():
            return shown - absent <= {value for values in series(family) for value in values}
        until(all_shown, f"{family} has all")
    equal(lint(families()), CONTRACT)


run()
