#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ringmain beside its limit, in one run, on this machine: `make bench`.

  (a) limit   COPY of rows encoded in advance, from memory, into the same table, one connection
  (b) stored  ringmain from TCP producers to rows committed in Postgres
  (c) spooled ringmain with the writer off: producers to acknowledgements, spool only

for events of about 200 and about 400 bytes; then the first acknowledgements after a start, throughput against batch size
and acknowledgement latency against load. Rounds alternate, medians are compared: the ratio is the claim, single times are
not. Every result is appended to perf/results.ndjson; the plots go to perf/plots/. perf/README.md explains both.

  ROUNDS=5 EVENTS=1000000 QUICK=1 (no sweeps)
"""
import json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time, urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.chdir(ROOT)
OUT = sys.argv[1] if len(sys.argv) > 1 else "build/release"
ROUNDS = int(os.environ.get("ROUNDS", "5"))
EVENTS = int(os.environ.get("EVENTS", "1000000"))
TICKS = os.sysconf("SC_CLK_TCK")
RESULTS = os.path.join("perf", "results.ndjson")


def say(text):
    print(text, flush=True)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    if int(stat.read().rsplit(")", 1)[1].split()[1]) == pid:
                        found.append(int(entry))
            except OSError:
                pass
    return found


class Postgres:
    """A private server with durable settings; only max_wal_size is raised, so that no checkpoint falls into a round."""

    def __init__(self, directory):
        self.directory = directory
        self.conninfo = subprocess.run(
            ["sh", "tests/tools/postgres.sh", "start", directory, "max_wal_size=8GB", "shared_buffers=512MB"],
            check=True, capture_output=True, text=True).stdout.strip()
        self.pid = int(subprocess.run(["sh", "tests/tools/postgres.sh", "pid", directory], check=True,
                                      capture_output=True, text=True).stdout)

    def sql(self, text):
        return subprocess.run(["psql", "-X", "-q", "-A", "-t", self.conninfo, "-c", text], check=True,
                              capture_output=True, text=True).stdout.strip()

    def fresh(self):
        self.sql("drop table if exists events, messages, cart_events, ringmain_checkpoint, ringmain_dead_letters")
        self.sql("checkpoint")

    def cpu(self):
        """Of all its processes, those that have ended too."""
        while True:
            try:
                alive = sum(cpu_seconds(p) for p in children(self.pid))
                with open(f"/proc/{self.pid}/stat") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                return sum(int(f) for f in fields[11:15]) / TICKS + alive
            except FileNotFoundError:
                pass  # one of them ended meanwhile

    def remove(self):
        subprocess.run(["sh", "tests/tools/postgres.sh", "remove", self.directory], check=False)


class Ringmain:
    def __init__(self, directory, conninfo, *options):
        self.ready = os.path.join(directory, "ready")
        spool = os.path.join(directory, "spool")
        shutil.rmtree(spool, ignore_errors=True)
        if os.path.exists(self.ready):
            os.remove(self.ready)
        settings = {"node.name": "bench", "node.ready_file": self.ready, "listen.tcp": "127.0.0.1:0",
                    "listen.http": "127.0.0.1:0", "listen.metrics": "127.0.0.1:0", "auth.required": "no",
                    "spool.directory": spool, "postgres.conninfo": conninfo, "node.shards": "1", "log.level": "error",
                    "dedup.ids": "16777216", "spool.retain_stored_s": "0"}
        settings.update(o.split("=", 1) for o in options)
        arguments = [f"{OUT}/ringmain", "serve", "-c", "/dev/null"]
        for key, value in settings.items():
            arguments += ["-o", f"{key}={value}"]
        self.process = subprocess.Popen(arguments)
        while not os.path.exists(self.ready):
            if self.process.poll() is not None:
                sys.exit("bench: ringmain did not start")
            time.sleep(0.01)
        with open(self.ready) as file:
            self.at = dict(line.strip().split("=", 1) for line in file)

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def metric(self, name):
        text = urllib.request.urlopen(f"http://{self.at['METRICS']}/metrics").read().decode()
        return sum(float(m) for m in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def send(ringmain, file, events, *options):
    lines = sum(1 for _ in open(file))
    result = subprocess.run([f"{OUT}/ringmain", "send", file, "--to", f"tcp://{ringmain.at['TCP']}", "--json", "--quiet",
                             "--repeat", str(max(1, events // lines)), *options], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"bench: send failed: {result.stderr} {result.stdout}")
    return json.loads(result.stdout)


def make_rows(directory):
    """About 200 and about 400 bytes an event, of real web requests where they are at hand."""
    real = os.environ.get("BENCH_FILE", "../shared/data/web-access.ndjson")
    events = []
    if os.path.exists(real):
        with open(real) as file:
            events = [json.loads(line) for line in file]
    else:
        for i in range(9999):
            events.append({"id": f"wa-{i:05}", "type": "page_view", "tenantId": f"t-{i % 7}", "userId": f"u-{i * 7919 % 1000003:010}",
                           "sessionId": f"u-{i * 7919 % 1000003:010}-1", "timestamp": "2015-05-17T10:05:03Z",
                           "data": {"method": "GET", "path": f"/articles/{i}/index.html", "status": 200, "bytes": i * 31,
                                    "referrer": "http://example.com/" + "r" * (i % 80), "userAgent": "Mozilla/5.0 " + "u" * 120}})
    files = {}
    for size in (200, 400):
        path = os.path.join(directory, f"events-{size}.ndjson")
        total = 0
        with open(path, "w") as file:
            for event in events:
                if size == 200:
                    data = event["data"]
                    event = {k: event[k] for k in ("id", "type", "userId", "timestamp") if k in event}
                    event["data"] = {"method": data["method"], "path": data["path"][:60], "status": data["status"],
                                     "bytes": data["bytes"]}
                    event["data"]["pad"] = "x" * max(0, 190 - len(json.dumps(event, separators=(",", ":"))))
                line = json.dumps(event, separators=(",", ":"))
                total += len(line)
                file.write(line + "\n")
        files[size] = (path, total / len(events))
    return files


def limit(postgres, file):
    postgres.fresh()
    # The table as ringmain makes it.
    postgres.sql(subprocess.run([f"{OUT}/ringmain", "check", "-c", "/dev/null", "--sql"], check=True,
                                capture_output=True, text=True).stdout)
    before = postgres.cpu()
    out = json.loads(subprocess.run([f"{OUT}/perf/limit", postgres.conninfo, file, str(EVENTS), str(EVENTS)], check=True,
                                    capture_output=True, text=True).stdout)
    return {"rate": out["rows"] / out["seconds"], "postgres_us": (postgres.cpu() - before) / out["rows"] * 1e6}


def stored(directory, postgres, file, *options, events=None):
    postgres.fresh()
    ringmain = Ringmain(directory, postgres.conninfo, *options)
    while ringmain.metric("ringmain_postgres_up") < 1:
        time.sleep(0.02)
    before, postgres_before = ringmain.cpu(), postgres.cpu()
    started = time.monotonic()
    summary = send(ringmain, file, events or EVENTS, "--connections", "4")
    while ringmain.metric("ringmain_events_stored_total") < summary["accepted"]:
        time.sleep(0.02)
    seconds = time.monotonic() - started
    rows = int(postgres.sql("select count(*) from events"))
    if rows != summary["accepted"] or summary["accepted"] != summary["events"]:
        sys.exit(f"bench: {rows} rows for {summary}")
    result = {"rate": rows / seconds, "ringmain_us": (ringmain.cpu() - before) / rows * 1e6,
              "postgres_us": (postgres.cpu() - postgres_before) / rows * 1e6, "ack_ms_p50": summary["ack_ms_p50"],
              "ack_ms_p99": summary["ack_ms_p99"]}
    ringmain.stop()
    return result


def spooled(directory, file, *options, events=None):
    ringmain = Ringmain(directory, "", "spool.bytes=64g", *options)
    before = ringmain.cpu()
    summary = send(ringmain, file, events or EVENTS * 3, "--connections", "4")
    cpu = ringmain.cpu() - before
    ringmain.stop()
    return {"rate": summary["events"] / summary["seconds"], "ringmain_us": cpu / summary["events"] * 1e6,
            "rate_by_cpu": summary["events"] / cpu if cpu > 0 else 0, "ack_ms_p50": summary["ack_ms_p50"],
            "ack_ms_p99": summary["ack_ms_p99"]}


def first_acks(directory):
    """ms from the first event of a fresh process, and of the 49 behind it, to the line that says it is on disk."""
    ringmain = Ringmain(directory, "")
    host, port = ringmain.at["TCP"].rsplit(":", 1)
    times = []
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answers:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(50):
            started = time.monotonic()
            connection.sendall(b'{"hello":{"ack":"spooled"}}\n' * (i == 0) + b'{"type":"first","id":"%d"}\n' % i)
            while b'"ack"' not in answers.readline().replace(b'"ack":"', b""):
                pass
            times.append((time.monotonic() - started) * 1e3)
            time.sleep(0.005)
    ringmain.stop()
    return times


def record(entry):
    entry = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cores": os.cpu_count(),
             "busy": float(open("/proc/loadavg").read().split()[0]),
             "kernel": os.uname().release.split("-")[0], **entry}
    with open(RESULTS, "a") as file:
        file.write(json.dumps(entry) + "\n")


def median(rounds, key):
    return statistics.median(r[key] for r in rounds)


def compare(directory, postgres, size, file, average):
    rounds = {"limit": [], "stored": [], "spooled": []}
    limit(postgres, file)  # nobody's: whoever is first makes the WAL's files, which the others find
    for i in range(ROUNDS):
        if i % 2 == 0:
            rounds["limit"].append(limit(postgres, file))
        rounds["stored"].append(stored(directory, postgres, file))
        if i % 2 == 1:
            rounds["limit"].append(limit(postgres, file))
        rounds["spooled"].append(spooled(directory, file))
        say("  round %d: limit %.0f/s, stored %.0f/s, spooled %.0f/s" %
            (i + 1, rounds["limit"][-1]["rate"], rounds["stored"][-1]["rate"], rounds["spooled"][-1]["rate"]))
    entry = {"bench": "compare", "event_bytes": round(average), "events": EVENTS, "rounds": ROUNDS,
             "limit_rate": round(median(rounds["limit"], "rate")),
             "limit_postgres_us": round(median(rounds["limit"], "postgres_us"), 3),
             "stored_rate": round(median(rounds["stored"], "rate")),
             "stored_ratio": round(statistics.median(s["rate"] / l["rate"] for s, l in
                                                     zip(rounds["stored"], rounds["limit"])), 3),
             "ringmain_us": round(median(rounds["stored"], "ringmain_us"), 3),
             "postgres_us": round(median(rounds["stored"], "postgres_us"), 3),
             "spooled_rate": round(median(rounds["spooled"], "rate")),
             "spooled_us": round(median(rounds["spooled"], "ringmain_us"), 3),
             "spooled_by_cpu": round(median(rounds["spooled"], "rate_by_cpu"))}
    record(entry)
    say(f"""
  events of {average:.0f} bytes, {EVENTS} of them, median of {ROUNDS} rounds
    (a) limit    {entry['limit_rate']:>9} rows/s                        Postgres {entry['limit_postgres_us']:.2f} s CPU a million
    (b) stored   {entry['stored_rate']:>9} rows/s  = {entry['stored_ratio']:.2f} of the limit   Postgres {entry['postgres_us']:.2f}, ringmain {entry['ringmain_us']:.2f} s CPU a million
    (c) spooled  {entry['spooled_rate']:>9} events/s                                ringmain {entry['spooled_us']:.2f} s CPU a million
                 {entry['spooled_by_cpu']:>9} events in a second of ringmain's CPU
""")
    return entry


def plot(name, title, xlabel, ylabel, series, logx=True):
    os.makedirs("perf/plots", exist_ok=True)
    script = [f"set terminal svg size 760,420 font 'sans,12' background '#ffffff'", f"set output 'perf/plots/{name}.svg'",
              f"set title '{title}'", f"set xlabel '{xlabel}'", f"set ylabel '{ylabel}'", "set grid", "set key left top",
              "set yrange [0:*]"]
    if logx:
        script.append("set logscale x")
    script.append("plot " + ", ".join(f"'-' with linespoints lw 2 pt 7 title '{label}'" for label, _ in series))
    for _, points in series:
        script += [f"{x} {y}" for x, y in points] + ["e"]
    subprocess.run(["gnuplot"], input="\n".join(script), text=True, check=False, stderr=subprocess.DEVNULL)


def sweeps(directory, postgres, file):
    starts = [first_acks(directory) for _ in range(ROUNDS)]
    first, rest = statistics.median(t[0] for t in starts), statistics.median(sum((t[1:] for t in starts), []))
    say(f"  after a start the first acknowledgement takes {first:.1f} ms, later ones {rest:.1f} ms")
    record({"bench": "first_ack", "first_ms": round(first, 2), "first_ms_max": round(max(t[0] for t in starts), 2),
            "later_ms": round(rest, 2)})
    say("  throughput against batch size")
    points = []
    for rows in (50, 500, 5000, 50000):
        events = EVENTS // 10 if rows < 500 else EVENTS // 2
        rate = stored(directory, postgres, file, f"batch.max_rows={rows}", events=events)["rate"]
        points.append((rows, round(rate)))
        say(f"    {rows:>6} rows a batch: {rate:>9.0f} rows/s")
    record({"bench": "batch_size", "points": points})
    plot("batch-size", "rows committed a second against rows in a batch", "rows in a batch", "rows a second",
         [("ringmain, one connection", points)])
    say("  acknowledgement latency against load")
    p50, p99 = [], []
    for rate in (2000, 10000, 50000, 100000, 200000, 400000):
        ringmain = Ringmain(directory, "")
        summary = send(ringmain, file, max(10000, min(EVENTS, rate * 3)), "--rate", str(rate), "--connections", "4")
        ringmain.stop()
        p50.append((rate, summary["ack_ms_p50"]))
        p99.append((rate, summary["ack_ms_p99"]))
        say(f"    {rate:>7} events/s: {summary['ack_ms_p50']:.2f} ms median, {summary['ack_ms_p99']:.2f} ms 99 %")
    record({"bench": "ack_latency", "p50": p50, "p99": p99})
    plot("ack-latency", "acknowledgement (on disk) against load, 4 connections", "events a second", "ms",
         [("median", p50), ("99 %", p99)])


def main():
    # On a disk, not in memory: fdatasync is part of what is measured.
    base = os.path.join(ROOT, "var", "bench")
    os.makedirs(base, exist_ok=True)
    os.chmod(os.path.join(ROOT, "var"), 0o755)
    directory = tempfile.mkdtemp(dir=base)
    os.chmod(directory, 0o755)
    postgres = Postgres(os.path.join(directory, "pg"))
    try:
        files = make_rows(directory)
        for size, (file, average) in files.items():
            compare(directory, postgres, size, file, average)
        if not os.environ.get("QUICK"):
            sweeps(directory, postgres, files[200][0])
        say(f"appended to {RESULTS}; plots in perf/plots/")
    finally:
        postgres.remove()
        shutil.rmtree(directory, ignore_errors=True)
        for empty in (base, os.path.dirname(base)):
            if not os.listdir(empty):
                os.rmdir(empty)


if __name__ == "__main__":
    main()
