"""Sends runs through one controller, one after another on each lane, and compares the first with the last.

At rest, with no Job left, everything that could pile up is counted. It must never decide whether a figure is
good: it stands beside its aim, and a person reads both.
"""

import http.client
import io
import json
import os
import statistics
import sys
import tarfile
import threading
import time
import urllib.parse

import benchmarks

RUNS = int(os.environ.get("ENDURANCE_RUNS", "2000"))
# The first and the last so many are compared; between two such parts everything comes to rest and is counted.
PART = min(200, RUNS // 2)
# One for each core: a run is two Jobs of four processes each.
LANES = 2
WARM = LANES * 2
# Longer than anything here takes on a busy machine.
PATIENCE_S = 120

SERVER = urllib.parse.urlsplit(os.environ["SCALR_URL"])
FOLDER = os.environ["SCALR_FOLDER"]
SERVER_FOLDER = os.environ["FAKE_SCALR_DATA_DIR"]
PIDS = {"controller": int(os.environ["SCALR_AGENT_PID"]), "server": int(os.environ["FAKE_SCALR_PID"])}
API = "/api/iacp/v3"


class Person:
    """Somebody with a connection of his own."""

    def __init__(self):
        self.line = http.client.HTTPConnection(SERVER.hostname, SERVER.port, timeout=PATIENCE_S)

    def asks(self, method, path, body=None, kind="application/vnd.api+json"):
        headers = {"Authorization": f"Bearer {os.environ['SCALR_TOKEN']}"}
        if body is not None:
            headers["Content-Type"] = kind
        self.line.request(method, path, body, headers)
        answer = self.line.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"bench-endurance: {method} {path}: {answer.status} {text[:500]}")
        return text

    def makes(self, kind, attributes, **related):
        relationships = {
            name: {"data": {"type": f"{name}s", "id": number}} for name, number in related.items()
        }
        data = {"type": kind, "attributes": attributes, "relationships": relationships}
        return json.loads(self.asks("POST", f"{API}/{kind}", json.dumps({"data": data})))["data"]

    def workspace(self, name):
        """A workspace with a configuration of one small file."""
        workspace = self.makes("workspaces", {"name": name})["id"]
        version = self.makes("configuration-versions", {}, workspace=workspace)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            entry = tarfile.TarInfo("main.tf")
            entry.size = len(b"# nothing\n")
            tar.addfile(entry, io.BytesIO(b"# nothing\n"))
        self.asks("PUT", version["attributes"]["upload-url"], archive.getvalue(), "application/octet-stream")
        return workspace, version["id"]

    def run(self, workspace, version):
        """One run to its end; the seconds from its submission to `applied`."""
        began = time.monotonic()
        run = self.makes("runs", {"auto-apply": True}, workspace=workspace, **{"configuration-version": version})
        run, status = run["id"], run["attributes"]["status"]
        while status not in ("applied", "errored", "canceled"):
            query = urllib.parse.urlencode({"unless-status": status, "wait-ms": 10_000})
            shown = json.loads(self.asks("GET", f"{API}/runs/{run}?{query}"))["data"]["attributes"]
            status = shown["status"]
            if time.monotonic() - began > PATIENCE_S:
                sys.exit(f"bench-endurance: {run} is {status} after {PATIENCE_S} s")
        if status != "applied":
            sys.exit(f"bench-endurance: {run} is {status}: {shown['error-message']}")
        return time.monotonic() - began


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def of_process(pid):
    """Descriptors, resident KiB, threads, and seconds of CPU so far."""
    status = dict(line.split(b":", 1) for line in read(f"/proc/{pid}/status").splitlines())
    times = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return {
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "resident": int(status[b"VmRSS"].split()[0]),
        "threads": int(status[b"Threads"]),
        "cpu": (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
    }


def below(folder):
    """How many files and folders there are below one, and what they take on disk."""
    count = size = 0
    for path, folders, files in os.walk(folder):
        for name in folders + files:
            try:
                size += os.lstat(os.path.join(path, name)).st_blocks * 512
            except FileNotFoundError:
                continue
            count += 1
    return count, size


def of_jobs():
    """Processes that name our folder and are neither server nor controller nor above us."""
    found = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        named = read(f"/proc/{pid}/cmdline") + read(f"/proc/{pid}/environ")
        is_job = b"keeper" in named or b"worker" in named or b"runner.sock" in named
        found += FOLDER.encode() in named and is_job and int(pid) not in PIDS.values() and int(pid) != os.getpid()
    return found


def at_rest():
    """Waits until nothing of any Job is left, then counts."""
    until = time.monotonic() + PATIENCE_S
    left = True
    while left and time.monotonic() < until:
        time.sleep(0.5)
        jobs = [name for name in os.listdir(f"{FOLDER}/data/jobs") if not name.startswith(".")]
        runs = [name for name in os.listdir(f"{FOLDER}/data/runs") if not name.startswith(".")]
        left = bool(jobs or runs or of_jobs())
    if left:
        sys.exit(f"bench-endurance: at rest there are still {jobs} {runs} and {of_jobs()} processes")
    sample = {name: of_process(pid) for name, pid in PIDS.items()}
    sample["data"] = below(f"{FOLDER}/data")
    sample["server-data"] = below(SERVER_FOLDER)
    return sample


def part(places, count):
    """So many runs on all lanes together; how long each took."""
    took, lock = [], threading.Lock()
    left = iter(range(count))

    def lane(person, place):
        while True:
            with lock:
                if next(left, None) is None:
                    return
            seconds = person.run(*place)
            with lock:
                took.append(seconds)

    lanes = [threading.Thread(target=lane, args=place) for place in places]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    if len(took) != count:
        sys.exit(1)
    return took


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def rows_of(samples, parts, state):
    (zero, first, *_), last = samples, samples[-1]
    before = samples[-2]
    between = RUNS - PART
    rows = []

    def row(what, of, aim="flat"):
        rows.append((what, f"{of(first)} → {of(last)}", aim))

    quarter = lambda values, part: f"{percentile(values, part) * 1_000:.0f} ms"
    for what, place in (("median", 0.5), ("95th percentile", 0.95)):
        said = f"{quarter(parts[0], place)} → {quarter(parts[-1], place)}"
        rows.append((f"from `submit` to applied, {what}", said, "flat"))
    for name in PIDS:
        spent = lambda new, old: f"{(new[name]['cpu'] - old[name]['cpu']) / PART * 1_000:.1f} ms"
        rows.append((f"CPU of the {name} a run", f"{spent(first, zero)} → {spent(last, before)}", "flat"))
    row("descriptors of the controller, at rest", lambda s: s["controller"]["descriptors"])
    row("threads of the controller", lambda s: s["controller"]["threads"])
    # The driver keeps some thousand changes of what it saw: memory rises until it has them, and then no more.
    halves = (first, samples[len(samples) // 2], last)
    resident = " → ".join(f"{sample['controller']['resident'] / 1024:.1f}" for sample in halves)
    rows.append(("resident memory of the controller, also halfway", f"{resident} MiB", "flat in the end"))
    row("files and folders below the agent's data folder, at rest", lambda s: s["data"][0])
    row("disk of the agent's data folder, at rest", lambda s: f"{s['data'][1] / 1024:.0f} KiB")
    row("descriptors of the server", lambda s: s["server"]["descriptors"])
    row("resident memory of the server", lambda s: f"{s['server']['resident'] / 1024:.1f} MiB", "")
    grown = lambda of: (of(last) - of(first)) / between
    resident = grown(lambda s: s["server"]["resident"]) * 1024
    rows.append(("… it forgets no run: memory a run", f"{resident:,.0f} B", ""))
    rows.append(("… its state as JSON, a run", f"{state / (RUNS + WARM):,.0f} B", ""))
    rows.append(("… its disk a run", f"{grown(lambda s: s['server-data'][1]):,.0f} B", ""))
    return rows


def main():
    places = []
    for number in range(LANES):
        person = Person()
        places.append((person, person.workspace(f"endurance-{number}")))
    # What is loaded, cached and connected once is there before the first sample.
    part(places, WARM)
    samples, parts = [at_rest()], []
    began, loads = time.monotonic(), []
    for number in range(RUNS // PART):
        parts.append(part(places, PART))
        loads.append(os.getloadavg()[0])
        samples.append(at_rest())
        median = statistics.median(parts[-1]) * 1_000
        print(f"{PART * (number + 1)} runs, {median:.0f} ms", samples[-1], file=sys.stderr, flush=True)
    took = time.monotonic() - began
    # Last, since showing all that it knows takes the server many times the memory of knowing it.
    rows = rows_of(samples, parts, len(Person().asks("GET", "/fake/inspect")))
    if RUNS < 2_000:
        for row in rows:
            print(*row, sep="\t")
        return
    about = (
        f"{benchmarks.measured_by('bench-endurance')}, driver `local`, everything on one machine: {RUNS} runs of plan "
        f"and apply through one controller, {LANES} at a time, with a stand-in for the tool that takes no time, in "
        f"{took / 60:.0f} minutes. The first {PART} against the last {PART}; at rest means that no Job was left. The "
        f"machine's load was {min(loads):.0f} to {max(loads):.0f}, this work included."
    )
    benchmarks.write("Endurance", about, rows)


main()
