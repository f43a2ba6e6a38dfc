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

# All tests but the simulator's, which is being built (`cargo test sim`); a filter goes to nextest
[group('check')]
test *filter:
    cargo test --workspace --exclude sim --doc --quiet
    cargo nextest run --workspace --exclude sim {{ filter }}

# Format, clippy and docs, with no warning left
[group('check')]
lint:
    cargo fmt --package scalr-protocol --package scalr-core --package scalr-agent --package fake-scalr --check
    cargo clippy --workspace --exclude sim --all-targets -- --deny warnings
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --exclude sim --no-deps --document-private-items --quiet

# Dependencies: bans, licences and sources
[group('check')]
deny:
    scripts/deny

# What a pull request must pass
[group('check')]
ci:
    .ci/run

# Format the code
[group('write')]
fmt:
    cargo fmt --all

# Measure, and write docs/benchmarks.md
[group('write')]
bench:
    scripts/bench

# Measure the simulator, and write its part of docs/benchmarks.md
[group('write')]
bench-sim:
    scripts/bench-sim
