"""Measures the whole way of a run, from outside, against running programs, and writes a table.

It must never decide whether a figure is good: it stands beside its aim, and a person reads both.
"""

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import benchmarks

HELLO = "examples/hello"
TERRAFORM = os.path.abspath(".tools/bin/terraform")
# Enough for a median that repeats within a few per cent.
RUNS = 10
# Every 10 ms for 10 s: a thousand lines, so that a 99th percentile means ten of them.
LINES = 1_000
# Several times what any buffer on the way holds.
CONSOLE_BYTES = 256 * 1024 * 1024
# What Terraform prints first.
FIRST_LINE = b"Initializing"


def submit(*options):
    """Starts a dry run; its console comes on stdout."""
    command = ["fake-scalr", "submit", HELLO, "--dry", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def seconds_to_first_line(start):
    """From the start of a process to the first line of the tool, in seconds."""
    began = time.monotonic()
    process = start()
    took = None
    for line in process.stdout:
        if took is None and FIRST_LINE in line:
            took = time.monotonic() - began
    if process.wait() != 0 or took is None:
        sys.exit(f"bench: a run failed ({process.args})")
    return took


def by_hand(folder):
    shutil.rmtree(os.path.join(folder, ".terraform"), ignore_errors=True)
    command = [TERRAFORM, "init", "-input=false", "-no-color"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def to_first_line():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(HELLO, folder, dirs_exist_ok=True)
        hand = [seconds_to_first_line(lambda: by_hand(folder)) for _ in range(RUNS)]
    run = [seconds_to_first_line(lambda: submit("--workspace", "bench-first")) for _ in range(RUNS)]
    return statistics.median(hand) * 1_000, statistics.median(run) * 1_000


def console_delays():
    """From the print of a line in a hook to its arrival here, in milliseconds, sorted."""
    loop = f"i=0; while [ $i -lt {LINES} ]; do echo tick $(date +%s%N); i=$((i+1)); sleep 0.01; done"
    process = submit("--workspace", "bench-delay", "--hook", f"pre-plan={loop}")
    delays = []
    for line in process.stdout:
        words = line.split()
        if len(words) == 2 and words[0] == b"tick" and words[1].isdigit():
            delays.append((time.time_ns() - int(words[1])) / 1e6)
    if process.wait() != 0 or len(delays) != LINES:
        sys.exit(f"bench: {len(delays)} of {LINES} lines came")
    return sorted(delays)


def console_throughput():
    """Bytes a second through worker, server and file; every byte is counted and hashed."""
    line = b"x" * 99 + b"\n"
    count = CONSOLE_BYTES // len(line)
    expected = hashlib.sha256(line * count).hexdigest()
    text = "x" * 99
    process = submit("--workspace", "bench-throughput", "--hook", f"pre-plan=yes {text} | head -n {count}")
    digest, seen, began, ended = hashlib.sha256(), 0, None, None
    for got in process.stdout:
        if got == line:
            began = began or time.monotonic()
            ended = time.monotonic()
            digest.update(got)
            seen += 1
    if process.wait() != 0 or seen != count or digest.hexdigest() != expected:
        sys.exit(f"bench: {seen} of {count} lines came, or not the same")
    return count * len(line) / (ended - began)


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def main():
    # Before the first task: an idle controller.
    time.sleep(2)
    resident = resident_mib(os.environ["SCALR_AGENT_PID"])
    hand, run = to_first_line()
    delays = console_delays()
    throughput = console_throughput()
    rows = [
        ("`init` by hand, to its first line", f"{hand:.0f} ms", ""),
        ("`submit`, to the tool's first line", f"{run:.0f} ms", ""),
        ("… over the tool by hand", f"{run - hand:.0f} ms", "≤ 300 ms"),
        ("console delay, median", f"{statistics.median(delays):.0f} ms", ""),
        ("console delay, 99th percentile", f"{delays[int(LINES * 0.99)]:.0f} ms", "≤ 250 ms"),
        ("console throughput, no byte lost", f"{throughput / 1e6:.0f} MB/s", "≥ 50 MB/s"),
        ("resident memory of the idle controller", f"{resident:.1f} MiB", "≤ 16 MiB"),
    ]
    about = (
        f"{benchmarks.measured_by('bench')}, driver `local`, everything on one machine. Times to a first line are "
        f"medians of {RUNS}; delays are of {LINES} lines, one each 10 ms; throughput is of "
        f"{CONSOLE_BYTES // 2**20} MiB, read by `fake-scalr submit` and hashed."
    )
    benchmarks.write("A run, from outside", about, rows)


main()
