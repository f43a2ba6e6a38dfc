# Every way into the project. `./dev RECIPE` sets up the tools first; what needs more than a line is in scripts/.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes
default:
    @just --list --unsorted

# A real Terraform run from submitted to applied, on this machine
[group('try')]
demo:
    scripts/with-scalr fake-scalr submit examples/hello --auto-apply

# A fake Scalr and a controller on this machine, until Ctrl-C
[group('try')]
run:
    scripts/with-scalr

# All tests; a filter goes to nextest
[group('check')]
test *filter:
    cargo test --workspace --doc --quiet
    cargo nextest run --workspace {{ filter }}

# Format, clippy and docs, with no warning left
[group('check')]
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items --quiet

# Dependencies: bans, licences and sources
[group('check')]
deny:
    scripts/deny

# Plant each wrong change in the brains, and see which promise catches it
[group('check')]
mutants *options:
    cargo test --quiet --package scalr-core --features mutants mutant
    cargo test --quiet --package sim --features mutants --test sim sim::mutants
    cargo run --quiet --package sim --features mutants --example mutants -- {{ options }}

# One target of fuzz/ under libFuzzer, for so many seconds; without a name: the names
[group('check')]
fuzz *target_seconds:
    scripts/fuzz {{ target_seconds }}

# What a pull request must pass
[group('check')]
ci:
    .ci/run

# Format the code
[group('write')]
fmt:
    cargo fmt --all

# The stories of outages, signals and kills at their full length: half an hour
[group('check')]
soak *name:
    scripts/soak {{ name }}

# The contract of every cluster on the one that KUBECONFIG names: rights over all of it, kubectl in the PATH
[group('check')]
contract-kube:
    cargo test --package scalr-agent --test it -- real_cluster --ignored

# Measure a run from outside, and write its part of docs/benchmarks.md
[group('write')]
bench:
    scripts/bench

# Measure the simulator (speed, sweeps, mutants, truth), and write its parts of docs/benchmarks.md
[group('write')]
bench-sim *parts:
    scripts/bench-sim {{ parts }}

# Two thousand runs through one controller: what piles up, and its part of docs/benchmarks.md
[group('write')]
bench-endurance:
    scripts/bench-endurance
