#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ringmain's live side beside a bare io_uring program that makes the same sends: `make bench-live`.

  echo     50 and 1,000 WebSockets that wait for their message to come back
  fan      one publisher, 1,000 and 10,000 subscribers; 1, 8 and 32 messages in a send
  held     1,000 broadcasts a second to 1,000 subscribers: latency
  socketio the same fan-out to Socket.IO clients, by POST /api/publish
  stalled  one of 1,000 subscribers stopped (SIGSTOP): the others' latency, and the memory held for it
  setup    WebSockets and Socket.IO connections a second, without a token and with
  idle     memory of an authenticated Socket.IO connection that does nothing

The server is pinned to one core, the load to another; what counts is deliveries in a second of the server's own CPU, so
that other work on the machine disturbs little. Bare and ringmain take turns of a quarter of a second, for as long as the
rounds are together, and the ratio is the median of the turns'.
Results are appended to perf/results.ndjson.

  ROUNDS=5 SECONDS_EACH=3 PARTS=echo,fan
"""
import base64, hashlib, hmac, json, os, shutil, signal, statistics, subprocess, sys, tempfile, time
import bench

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS_EACH", "3"))
SLICE = 0.25  # seconds
PARTS = os.environ.get("PARTS", "echo,fan,held,socketio,stalled,setup,idle").split(",")
CORES = sorted(os.sched_getaffinity(0))
SECRET = "live-bench-secret-of-32-characters"
# Nothing that bounds what one user or address may open: here one user is everybody.
PLENTY = ["debug.echo=yes", "limits.connections=21000", "limits.receive_buffers=1024", f"key.default.secret={SECRET}",
          "key.default.algorithm=HS256", "dedup.ids=65536"] + os.environ.get("OPTIONS", "").split()
table = []


def token(user, **claims):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")
    text = part({"alg": "HS256", "typ": "JWT", "kid": "default"}) + b"." + part(
        {"sub": user, "tenantId": "t1", "exp": int(time.time()) + 36000, **claims})
    signature = hmac.new(SECRET.encode(), text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def pin(core):
    return lambda: os.sched_setaffinity(0, {CORES[core % len(CORES)]})


def cpu_ns(pid):
    """Of all its threads, kernel workers of io_uring included."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total


def memory(pid):
    with open(f"/proc/{pid}/status") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(("RssAnon", "RssShmem")))


class Bare:
    kind = "bare"

    def __init__(self):
        self.process = subprocess.Popen([f"{bench.OUT}/perf/bare"], stdout=subprocess.PIPE, text=True, preexec_fn=pin(0))
        self.address = "127.0.0.1:" + self.process.stdout.readline().split()[1]
        self.pid = self.process.pid

    def stop(self):
        self.process.kill()
        self.process.wait()


class Ringmain(bench.Ringmain):
    kind = "plain"

    def __init__(self, directory, *options):
        os.sched_setaffinity(0, {CORES[0]})
        super().__init__(directory, "", *PLENTY, *options)
        os.sched_setaffinity(0, set(CORES))
        self.address, self.pid = self.at["HTTP"], self.process.pid


class Load:
    """A load generator with all its connections open; run() measures."""

    def __init__(self, server, mode, **options):
        options.setdefault("kind", server.kind)
        self.server = server
        self.process = subprocess.Popen(
            [f"{bench.OUT}/perf/load/load", mode, f"to={server.address}", *(f"{k}={v}" for k, v in options.items())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pin(1))
        if not self.process.stdout.readline().startswith("open "):
            raise RuntimeError(f"the load did not open: {mode} {options}")

    def run(self, seconds=SECONDS, rate=None):
        before = cpu_ns(self.server.pid)
        self.process.stdin.write(f"{seconds}\n" if rate is None else f"{seconds} {rate}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the load ended early")
        result = json.loads(line)
        result["cpu"] = (cpu_ns(self.server.pid) - before) / 1e9
        result["by_cpu"] = result["delivered"] / max(result["cpu"], 1e-9)
        for wrong in ("lost", "duplicate", "reordered"):
            if result[wrong]:
                raise RuntimeError(f"{wrong}: {result}")
        return result

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measured(server, mode, **options):
    load = Load(server, mode, **options)
    load.run(0.3)
    result = load.run()
    load.close()
    return result


def row(what, got, limit="", good=None):
    table.append((what, got, limit, {True: "yes", False: "NO", None: ""}[good]))
    bench.say(f"  {what}: {got} {limit} {table[-1][3]}")


def in_turns(loads):
    """Slices of both, one after the other, so short that the machine is as fast in the one as in the next."""
    slices = {who: [] for who in loads}
    for load in loads.values():
        load.run(0.3)
    for i in range(max(4, round(ROUNDS * SECONDS / SLICE))):
        for who in sorted(loads, reverse=i % 2 == 1):
            slices[who].append(loads[who].run(SLICE))
    return slices


def side_by_side(directory, what, limit, mode, options, bare_options=None, settings=()):
    servers = {"bare": Bare(), "ringmain": Ringmain(directory, *settings)}
    try:
        loads = {"bare": Load(servers["bare"], mode, **(bare_options or options)),
                 "ringmain": Load(servers["ringmain"], mode, **options)}
        slices = in_turns(loads)
        for load in loads.values():
            load.close()
    finally:
        for server in servers.values():
            server.stop()
    ratios = [r["by_cpu"] / b["by_cpu"] for r, b in zip(slices["ringmain"], slices["bare"])]
    lower, middle, upper = statistics.quantiles(ratios, n=4)
    entry = {"bench": "live", "what": what, "slices": len(ratios), "ratio": round(middle, 3),
             "ratio_quarter": round(lower, 3), "ratio_three_quarters": round(upper, 3)}
    for who in slices:
        for key in ("by_cpu", "rate", "p50_us", "p99_us", "p999_us", "a_read"):
            entry[f"{who}_{key}"] = round(bench.median(slices[who], key), 1)
    bench.record(entry)
    row(what, f"{middle:.2f} of bare (half of the slices {lower:.2f} … {upper:.2f}); "
        f"{entry['ringmain_by_cpu']:.0f} a core-second, p50 {entry['ringmain_p50_us']:.0f} p99 {entry['ringmain_p99_us']:.0f} "
        f"p99.9 {entry['ringmain_p999_us']:.0f} us; {entry['bare_a_read']:.1f} and {entry['ringmain_a_read']:.1f} a read", f">= {limit}", entry["ratio"] >= limit)


def echo(directory):
    for connections in (50, 1000):
        side_by_side(directory, f"echo, {connections} connections", 0.85, "echo",
                     {"path": "/echo", "connections": connections})


def fan(directory):
    for connections in (1000, 10000):
        for batch in (1, 8, 32):
            # One batch under way: every subscriber gets it in one send, here as there.
            side_by_side(directory, f"fan-out, {connections} subscribers, {batch} in a send", 0.9, "fan",
                         {"path": "/sub", "connections": connections, "batch": batch, "window": 1})


def held_run(directory, what, options, settings=()):
    server = Ringmain(directory, *settings)
    try:
        runs = [measured(server, "fan", connections=1000, rate=1000, **options) for _ in range(ROUNDS)]
    finally:
        server.stop()
    entry = {"bench": "live", "what": what, "rounds": ROUNDS}
    for key in ("rate", "by_cpu", "p50_us", "p99_us", "p999_us", "a_read"):
        entry[key] = round(bench.median(runs, key), 1)
    bench.record(entry)
    row(what, f"{entry['rate']:.0f} deliveries/s, p50 {entry['p50_us'] / 1e3:.1f} p99 {entry['p99_us'] / 1e3:.1f} "
        f"p99.9 {entry['p999_us'] / 1e3:.1f} ms, none lost", "p99 < 25 ms", entry["p99_us"] < 25000)


def held(directory):
    held_run(directory, "held: 1,000 a second to 1,000", {"path": "/sub"})


# With the test doors open Socket.IO's namespaces only echo.
SOCKETIO_SETTINGS = ["debug.echo=no"]
SOCKETIO_BYTES = 100 + len('42["load","","0-1234567890123456"]')  # what bare must send to send as much
SOCKETIO = {"kind": "socketio", "path": "/socket.io/?EIO=4&transport=websocket"}


def tokens(directory, count):
    name = os.path.join(directory, f"tokens-{count}")
    with open(name, "w") as file:
        for i in range(count):
            file.write(token(f"u{i}", scope="publish admin ingest", rooms=["*", "load"]) + "\n")
    return name


def socketio(directory):
    options = {**SOCKETIO, "publish": "/api/publish", "target": '{"room":"load"}', "room": "load",
               "tokens": tokens(directory, 1)}
    for batch in (1, 8, 32):
        side_by_side(directory, f"Socket.IO fan-out, 1000 subscribers, {batch} in a send", 0.9, "fan",
                     {**options, "connections": 1000, "batch": batch, "window": 1},
                     {"path": "/sub", "connections": 1000, "batch": batch, "window": 1, "bytes": SOCKETIO_BYTES},
                     SOCKETIO_SETTINGS)
    held_run(directory, "held, Socket.IO: 1,000 a second to 1,000", options, SOCKETIO_SETTINGS)


def stalled(directory):
    """Rounds without and with a stopped subscriber, in turns. Before a round with one it is sent until it is owed more
    than it may be, as fast as the others take it; the bounds are small so that this takes seconds."""
    queue = 1 << 18
    server = Ringmain(directory, f"live.queue_bytes={queue}", f"limits.output_bytes={queue}")
    others = Load(server, "fan", path="/sub", connections=999, rate=50, bytes=1000, window=1)
    without, with_one, held_bytes = [], [], []
    try:
        others.run(1, 0)
        for _ in range(ROUNDS):
            without.append(others.run())
            one = Load(server, "hold", path="/sub", connections=1)
            before = memory(server.pid)
            one.process.send_signal(signal.SIGSTOP)
            for _ in range(40):
                others.run(0.5, 0)
                held_bytes.append(memory(server.pid) - before)
                if server.metric("ringmain_live_overruns_total") > len(with_one):
                    break
            with_one.append(others.run())
            held_bytes.append(memory(server.pid) - before)
            one.process.send_signal(signal.SIGKILL)
            one.process.wait()
    finally:
        others.close()
        server.stop()
    most = 2 * queue + (1 << 20)  # its queue and its output; the heap's own disorder
    before, after = bench.median(without, "p99_us"), bench.median(with_one, "p99_us")
    bench.record({"bench": "live", "what": "stalled", "rounds": ROUNDS, "p99_without_us": before, "p99_with_us": after,
                  "change": round(after / before - 1, 3), "held_bytes": max(held_bytes)})
    row("1 of 1,000 stopped: the others' p99", f"{before / 1e3:.1f} ms without, {after / 1e3:.1f} ms with one: "
        f"{(after / before - 1) * 100:+.0f} %", "< 20 %", after < before * 1.2)
    row("memory held for the stopped one", f"{max(held_bytes)} bytes at most", f"<= {most}", max(held_bytes) <= most)


def setup(directory):
    path = {"path": "/ws/live?room=load"}
    ways = {"WebSocket, no token": path,
            "WebSocket, one token": {**path, "tokens": tokens(directory, 1)},
            "WebSocket, 20,000 tokens": {**path, "tokens": tokens(directory, 20000)},
            "Socket.IO, one token": {**SOCKETIO, "tokens": tokens(directory, 1)},
            "Socket.IO, 20,000 tokens": {**SOCKETIO, "tokens": tokens(directory, 20000)}}
    server = Ringmain(directory, *SOCKETIO_SETTINGS)
    try:
        for what, options in ways.items():
            load = Load(server, "open", connections=20000, **options)
            runs = [load.run() for _ in range(ROUNDS)]
            load.close()
            entry = {"bench": "live", "what": f"set-up: {what}", "rounds": ROUNDS}
            for key in ("rate", "by_cpu", "p50_us", "p99_us"):
                entry[key] = round(bench.median(runs, key), 1)
            bench.record(entry)
            row(f"set-up: {what}", f"{entry['rate']:.0f}/s, {1e6 / entry['by_cpu']:.0f} us of ringmain's CPU each")
    finally:
        server.stop()


def idle(directory):
    """Beyond what a ringmain takes that has room for few, as tests/blackbox/idle_test.sh measures."""
    count, few = 10000, 200

    def with_connections(number):
        server = Ringmain(directory, f"limits.connections={number + 100}", *SOCKETIO_SETTINGS)
        load = Load(server, "hold", connections=number, tokens=tokens(directory, 1), **SOCKETIO)
        load.run(1)
        used = memory(server.pid)
        load.close()
        time.sleep(1)
        rest = memory(server.pid)
        server.stop()
        return used, rest
    _, before = with_connections(few)
    used, _ = with_connections(count)
    each = (used - before) / count
    bench.record({"bench": "live", "what": "idle Socket.IO", "connections": count, "bytes_each": round(each)})
    row("memory of an idle authenticated Socket.IO connection", f"{each:.0f} bytes", "<= 8192", each <= 8192)


ALL = {"echo": echo, "fan": fan, "held": held, "socketio": socketio, "stalled": stalled, "setup": setup, "idle": idle}


def main():
    unknown = [part for part in PARTS if part not in ALL]
    if unknown:
        sys.exit(f"PARTS: {', '.join(unknown)}: there is only {', '.join(ALL)}")
    base = os.path.join(bench.ROOT, "var", "bench")
    os.makedirs(base, exist_ok=True)
    directory = tempfile.mkdtemp(dir=base)
    try:
        for part in PARTS:
            ALL[part](directory)
        bench.say("\n" + "\n".join("  %-52s %-8s %-12s %s" % (what, good, limit, got) for what, got, limit, good in table))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        for empty in (base, os.path.dirname(base)):
            if not os.listdir(empty):
                os.rmdir(empty)
    sys.exit(any(good == "NO" for *_, good in table))


if __name__ == "__main__":
    main()
