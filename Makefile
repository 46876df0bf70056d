# Each target does all its set-up. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help up demo test simulate chaos bench lint clean tools docker

# What deploy/get-* fetch goes before what the machine has.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 8

up: tools ## Run everything in one process, with a NATS server of its own, until Ctrl-C
	cargo build -p muster
	target/debug/muster up

demo: tools ## Show the whole way of a task with three real and 1,000 virtual agents
	cargo build -p muster -p muster-agent --bins --examples
	deploy/demo

test: tools docker ## Run all tests; MUSTER_REQUIRE_DOCKER=1 refuses to run them without containers
	# With all targets, so that what the tests need is compiled only once.
	cargo build --workspace --all-targets
	cargo test --workspace --no-fail-fast

simulate: ## Live SEEDS worlds of the simulation, from FIRST on; MUSTER_SEED=n shows one
	SEEDS=$${SEEDS:-20000} cargo test -p muster-simulation --test worlds -- --nocapture

# For docs/performance.md: make bench BENCH="--docs docs". Less: make bench BENCH="--agents 1000 --no-single".
REPEAT ?= 3
BENCH ?=
bench: tools ## Measure speed beside the broker's own limit; REPEAT=3 says how often, target/bench/report.json is the report
	cargo build --release -p muster -p muster-bench
	target/release/muster-bench --repeat $(REPEAT) $(BENCH)

chaos: tools ## Kill real processes of a system of AGENTS=20000 for ROUNDS=5 rounds, at most some MINUTES=30; SEED= repeats a run
	cargo build -p muster -p muster-agent -p muster-chaos
	target/debug/muster-chaos $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(AGENTS),--agents $(AGENTS)) $(if $(MINUTES),--minutes $(MINUTES))

lint: ## Check format, lints and documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

clean: ## Remove all that was built or fetched, and end the Docker engine if we started it
	deploy/get-docker stop
	cargo clean
	rm -rf .tools

# Without the stock CLI (exit code 3) the tests and the demonstration say what they leave out.
tools:
	@deploy/get-nats-server
	@deploy/get-nats-cli || [[ $$? = 3 ]]

# Without an engine (exit code 3) the test kit runs the server as a child process.
docker:
	@{ deploy/get-docker && deploy/build-nats-image; } || [[ $$? = 3 && "$${MUSTER_REQUIRE_DOCKER:-}" != 1 ]]
