"""Measures the simulator from outside and writes a table: it counts, this has the watch.

SIM_BENCH_SCALE takes a part of the work. It must never decide whether a figure is good: it stands beside its
aim, and a person reads both.
"""

import os
import re
import statistics
import subprocess
import sys
import time

import benchmarks

TARGET = os.environ.get("CARGO_TARGET_DIR", "target")
RELEASE = f"{TARGET}/release/sim"
DEBUG = f"{TARGET}/debug/sim"
SCALE = float(os.environ.get("SIM_BENCH_SCALE", "1"))
# Enough for a median that repeats within a few per cent.
TIMES = 3


def scaled(count, least=1):
    return max(least, int(count * SCALE))


def run(*command, may_fail=False, **variables):
    """Runs a command; says what it printed and how many seconds it took."""
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, **variables})
    took = time.monotonic() - began
    if done.returncode != 0 and not may_fail:
        sys.exit(f"bench-sim: {' '.join(command)} ended with {done.returncode}:\n{done.stdout[:2000]}")
    return done.stdout, took


def together(*commands):
    """Runs commands at the same time, one on each core; what each printed, and the seconds for all."""
    began = time.monotonic()
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate()[0] for process in running]
    return said, time.monotonic() - began


def number(text, what):
    """The number before a word."""
    found = re.search(rf"(\d+) {what}", text)
    return int(found[1]) if found else 0


def median(command):
    """Runs a command some times; what it printed, and the median of its seconds."""
    runs = [run(*command, may_fail=True) for _ in range(TIMES)]
    return runs[0][0], statistics.median(took for _, took in runs)


def rate(value):
    return f"{value / 1e6:.2f} M/s" if value >= 1e6 else f"{value:,.0f}/s".replace(",", " ")


def speed():
    rows = []
    count = scaled(20_000, 200)
    text, took = median([RELEASE, "drill", "--seeds", str(count)])
    events = number(text, "events")
    rows.append(("events a second, promises checked and hashed", rate(events / took), "≥ 1 M/s"))
    rows.append(("fault scenarios a second", rate(count / took), "≥ 2 000/s"))
    rows.append(("… of them break a promise", f"{number(text, 'broken')} of {count}", "0"))
    count = scaled(50_000, 500)
    text, took = median([RELEASE, "load", "--runs", str(count)])
    rows.append(("events a second, what-if", rate(number(text, "events") / took), "≥ 3 M/s"))
    rows.append(("runs a second, what-if (plan and apply, 600 an hour)", rate(count / took), "≥ 25 000/s"))
    rows.append(("virtual hours a second, what-if", rate(number(text, "hours") / took), "≥ 40/s"))
    return rows


def sweeps():
    rows = []
    count = scaled(100_000, 1_000)
    test = ["cargo", "test", "--quiet", "--release", "--package", "sim", "--test", "sim", "--"]
    text, took = run(*test, "--nocapture", "scenarios", may_fail=True, SIM_SCENARIOS=str(count))
    scenarios, faults = number(text, "scenarios"), number(text, "faults fired")
    rows.append(("`cargo test sim`: scenarios", f"{scenarios:,} in {took:.0f} s", "100 000"))
    rows.append(("`cargo test sim`: faults fired", f"{faults:,}", "≥ 250 000"))
    halves = [[RELEASE, "pairs", "--part", f"{part}/2"] for part in (0, 1)]
    said, took = together(*halves)
    cases = sum(number(text, "cases") for text in said)
    broken = sum(number(text, "broken") for text in said)
    rows.append(("all single faults, 13 workloads, two cores", f"{took:.1f} s, {cases:,} cases, {broken} broken", "< 60 s"))
    if SCALE >= 1:
        said, took = together(*[[*half, "--pairs"] for half in halves])
        cases = sum(number(text, "cases") for text in said)
        broken = sum(number(text, "broken") for text in said)
        rows.append(("… and all pairs of kinds", f"{took:.1f} s, {cases:,} cases, {broken} broken", "< 60 s"))
    return rows


def mutants():
    """The last lines of the mutants' own table."""
    text, took = run(f"{TARGET}/release/examples/mutants", "--scenarios", str(scaled(20_000, 500)), may_fail=True)
    rows = [("planted mutants", f"{line.strip()}", "") for line in text.strip().splitlines()[-1:]]
    return [*rows, ("… seconds for all of them, two cores", f"{took:.0f} s", "")]


def queues():
    """Two at a time: one server and five first, then fifty in two halves of its replications."""
    rows = []
    arrivals, replications = scaled(2_000_000, 4_000), 40 if SCALE >= 0.1 else 2
    def queue(servers, arrivals, replications, seed):
        return [
            RELEASE, "queue", "--servers", str(servers), "--arrivals", str(arrivals),
            "--replications", str(replications), "--seed", str(seed),
        ]
    said, _ = together(queue(1, arrivals, replications, 1), queue(5, arrivals, replications, 1))
    halves, _ = together(*[queue(50, arrivals // 2, max(2, replications // 2), seed) for seed in (1, 1_001)])
    for text in [*said, *halves]:
        servers, counted = number(text, "servers"), number(text, "counted")
        off = re.search(r"([+-][\d.]+) % off it, give or take ([\d.]+) %, ([+-][\d.]+) % off", text)
        if off:
            what = f"M/M/{servers}: mean wait against Erlang-C, {counted:,} counted"
            rows.append((what, f"{off[1]} %, standard error {off[2]} %", "± 2 %"))
            rows.append(("… against the recursion over the same draws: no luck in it", f"{off[3]} %", "± 2 %"))
    return rows


def hashes():
    count = str(scaled(1_000, 50))
    command = ["digest", "--seeds", count]
    (first, second), _ = together([RELEASE, *command], [RELEASE, *command])
    debug, _ = run(DEBUG, *command)
    is_same = first == second == debug and len(first.splitlines()) == int(count)
    said = "the same" if is_same else "NOT the same"
    return [(f"hashes of {count} seeds in two processes, debug and release", said, "the same")]


# What is measured, under which heading, and what must be said of it.
PARTS = {
    "speed": ("The simulator: speed", f"One core. Speeds are medians of {TIMES}.", speed),
    "sweeps": ("The simulator: sweeps", "Two cores.", sweeps),
    "mutants": ("The simulator: planted mutants", "Two cores.", mutants),
    "truth": ("The simulator: what is known for certain", "Counts and hashes, on no watch.", lambda: [*hashes(), *queues()]),
}


def main():
    named = sys.argv[1:] or list(PARTS)
    unknown = [part for part in named if part not in PARTS]
    if unknown:
        sys.exit(f"bench-sim: there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    scale = "" if SCALE >= 1 else f" Only {SCALE:g} of the work was done."
    for heading, how, measure in (PARTS[part] for part in named):
        benchmarks.write(heading, f"{benchmarks.measured_by('bench-sim')}. {how}{scale}", measure())


if __name__ == "__main__":
    main()
