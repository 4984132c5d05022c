# SPDX-License-Identifier: Apache-2.0
"""What an operator's tools see and what a producer holds when the node goes down: metrics, log, load. See operator_test.sh."""
import asyncio
import json
import os
import re
import threading

import websockets

from client import (HTTP, METRICS, Http, case, equal, fresh, get, metric, post, rows, run, true, until)

ACCEPTED = os.path.join(os.environ["TMP"], "accepted")

# ── metrics ──────────────────────────────────────────────────────────────────────────────────────

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"^({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? ([0-9.eE+-]+|NaN|[+-]Inf)$")


def families(text):
    """The text format 0.0.4, strictly: {family: (type, {series: value})}; each family stands together and has HELP and TYPE."""
    found, helped, current = {}, set(), None
    true(text.endswith("\n"), "the last line ends")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, words = line[7:].partition(" ")
            true(name not in helped and words, line)
            helped.add(name)
        elif line.startswith("# TYPE "):
            current, kind = line[7:].split(" ")
            true(current in helped and current not in found and kind in ("counter", "gauge", "histogram"), line)
            found[current] = (kind, {})
        else:
            sample = SAMPLE.match(line)
            true(sample, f"no sample: {line!r}")
            name, labels, value = sample.groups()
            kind, series = found[current]
            endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            true(name in [current + ending for ending in endings], f"{name} stands in the family {current}")
            true(kind != "counter" or name.endswith("_total"), f"the counter {name} ends in _total")
            true((name, labels) not in series, f"{line} once")
            series[name, labels] = float(value)
    return found


def is_histogram(name, series):
    buckets = [(re.search('le="([^"]*)"', labels).group(1), value) for (of, labels), value in series.items()
               if of == name + "_bucket"]
    bounds, values = [float(bound) for bound, _ in buckets], [value for _, value in buckets]
    equal(bounds, sorted(set(bounds)), f"{name}: bounds rise")
    equal(values, sorted(values), f"{name}: buckets are cumulative")
    equal((bounds[-1], values[-1]), (float("inf"), series[name + "_count", None]), name)


def defined():
    """metrics.def as (kind, name, label set or None)."""
    entry = re.compile(r'^(COUNTER|GAUGE|HISTOGRAM)\(\w+, "([^"]+)",\s*(?:"((?:[^"\\]|\\.)*)"|[^,]+),', re.M)
    with open("metrics/metrics.def", encoding="utf-8") as file:
        return [(kind.lower(), name, labels.replace('\\"', '"') or None) for kind, name, labels in entry.findall(file.read())]


@case("metrics")
def every_number_of_metrics_def_is_there():
    response = get("/metrics", where=METRICS)
    equal(response.status, 200)
    true(response.headers["content-type"].startswith("text/plain; version=0.0.4"), response.headers)
    found, wanted = families(response.body.decode()), defined()
    true(len(wanted) > 40, "metrics.def was read")
    for kind, name, labels in wanted:
        true(name in found, f"{name} is missing")
        equal(found[name][0], kind, name)
        if kind == "histogram":
            is_histogram(name, found[name][1])
        else:
            true((name, labels) in found[name][1], f"{name} {{{labels}}} is missing")


@case("metrics")
def what_happens_moves_them():
    def value(name, labels=None):
        return families(get("/metrics", where=METRICS).body.decode())[name][1][name, labels]
    watched = {("ringmain_events_received_total", 'door="http"'): 104, ("ringmain_events_accepted_total", None): 101,
               ("ringmain_events_duplicate_total", None): 1, ("ringmain_events_spooled_total", None): 101,
               ("ringmain_events_refused_total", 'code="MISSING_TYPE"'): 1,
               ("ringmain_events_refused_total", 'code="INVALID_JSON"'): 1, ("ringmain_events_stored_total", None): 101}
    before = {key: value(*key) for key in watched}
    loose = ["ringmain_received_bytes_total", "ringmain_sent_bytes_total", "ringmain_connections_opened_total",
             "ringmain_turns_total", "ringmain_spool_commits_total", "ringmain_spool_written_bytes_total",
             "ringmain_batches_total", "ringmain_batch_bytes_total", "ringmain_http_requests_total"]
    loose_before = {name: value(name) for name in loose}
    histograms = ["ringmain_spool_commit_seconds", "ringmain_spool_commit_events", "ringmain_ack_seconds",
                  "ringmain_batch_seconds", "ringmain_batch_events", "ringmain_stored_seconds", "ringmain_turn_seconds"]
    counts_before = {name: metric(name + "_count") for name in histograms}
    events = [{"type": "t", "id": fresh()} for _ in range(100)]
    equal(post("/events?ack=stored", events).status, 202)
    body = b"\n".join(json.dumps(one).encode() for one in (events[0], {"id": "x"}, {"type": "t"})) + b"\n{\n"
    equal(post("/events?ack=stored", body).json()["accepted"], 1)
    for key, more in watched.items():
        until(lambda key=key, more=more: value(*key) == before[key] + more, f"{key} grows by {more}")
    for name in loose:
        until(lambda name=name: value(name) > loose_before[name], f"{name} grows")
    for name in histograms:
        until(lambda name=name: metric(name + "_count") > counts_before[name], f"{name} counts")
        true(metric(name + "_sum") > 0, f"{name} adds up")


@case("metrics")
def gauges_follow():
    with Http() as http:
        equal(http.ask("GET", "/livez").status, 200)
        until(lambda: metric("ringmain_connections") == 1, "one connection")
    until(lambda: metric("ringmain_connections") == 0, "none")
    equal(metric("ringmain_postgres_up"), float(metric("ringmain_postgres_up") > 0 and 1))


@case("metrics")
def openmetrics_by_accept():
    response = get("/metrics", where=METRICS, Accept="application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    true(response.headers["content-type"].startswith("application/openmetrics-text"), response.headers)
    text = response.body.decode()
    true(text.endswith("# EOF\n"), "it ends in # EOF")
    true("# TYPE ringmain_events_accepted counter\n" in text and "\nringmain_events_accepted_total " in text,
         "the family has no _total, its sample has")
    equal(get("/nothing", where=METRICS).status, 404)


# ── a load to be stopped under ───────────────────────────────────────────────────────────────────

def load_http(accepted, number):
    """Posts until the node says no more; what it was thanked for goes into `accepted`."""
    try:
        with Http() as http:
            while True:
                events = [{"type": "t", "id": fresh(f"h{number}")} for _ in range(20)]
                response = http.ask("POST", "/events", json.dumps(events).encode())
                if response.status != 202 or response.json()["accepted"] != 20:
                    break
                accepted += [one["id"] for one in events]
                if response.headers.get("connection") == "close":
                    break
    except (EOFError, OSError):
        pass


async def load_ws(accepted, closes, greeted):
    async with websockets.connect(f"ws://{HTTP}/events/stream", ping_interval=None) as ws:
        window = asyncio.Semaphore(64)

        async def send():
            while True:
                await window.acquire()
                await ws.send(json.dumps({"type": "event", "data": {"type": "t", "id": fresh("w")}}))
        sending = asyncio.ensure_future(send())
        try:
            await ws.recv()  # the greeting
            greeted.set()
            while True:
                answer = json.loads(await asyncio.wait_for(ws.recv(), 30))
                window.release()
                if answer["type"] == "ack":
                    accepted.append(answer["eventId"])
        except websockets.exceptions.ConnectionClosed:
            closes.append(ws.close_code)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


@case("load")
def producers_until_the_node_stops():
    """Runs until it is stopped from outside; leaves the ids of what was acknowledged."""
    accepted, closes, greeted = [], [], threading.Event()
    threads = [threading.Thread(target=lambda: asyncio.run(load_ws(accepted, closes, greeted)))]
    threads += [threading.Thread(target=load_http, args=(accepted, number)) for number in range(3)]
    threads[0].start()
    true(greeted.wait(30), "the WebSocket is open before the others make the load")
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(60)
        true(not thread.is_alive(), "every producer came to its end")
    equal(closes, [1001], "a WebSocket is told that the node goes away")
    true(len(accepted) > 100, "there was a load")
    with open(ACCEPTED, "w", encoding="ascii") as file:
        file.write("\n".join(accepted))


@case("after")
def all_that_was_acknowledged_is_in_postgres_at_exit():
    with open(ACCEPTED, encoding="ascii") as file:
        ids = file.read().split()
    equal(rows("select count(*), count(distinct id) from events where id = any(%s)", ids), [(len(ids), len(ids))])


# ── the log ──────────────────────────────────────────────────────────────────────────────────────

LOGFMT = re.compile(r'^time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z level=(debug|info|warn|error) room=[a-z]+'
                    r' message="(?:[^"\\\x00-\x1f]|\\.)*"(?: [a-z_]+=(?:[^" ]+|"(?:[^"\\]|\\.)*"))*$')


@case("logfmt")
def every_line_of_the_log_is_logfmt():
    with open(os.environ["LOG"], encoding="utf-8") as file:
        lines = file.read().splitlines()
    true(len(lines) > 5, "there is a log")
    for line in lines:
        true(LOGFMT.match(line), line)


@case("logjson")
def every_line_of_the_log_is_json():
    with open(os.environ["LOG"], encoding="utf-8") as file:
        lines = file.read().splitlines()
    true(len(lines) > 5, "there is a log")
    for line in lines:
        entry = json.loads(line)
        true({"time", "level", "room", "message"} <= set(entry), line)


run()
