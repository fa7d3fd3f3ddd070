# Two commands are enough for a newcomer: `make demo` and `make test`. They do all set-up.
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: demo test lint interop bench build fmt clean help

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: ## The main job on real input: mails in, signed orders, erasure, attacks, verification
	$(CARGO) build --bins
	target/debug/mandate demo $(DEMO)

test: ## Every test. Starts a PostgreSQL of its own, and installs it where it is missing
	@tests/need-postgres.sh
	$(CARGO) test --bins --lib --tests
	$(CARGO) test --doc

lint: ## Format, clippy (both feature sets), the pure build
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --no-default-features --lib --bin mandate-verify -- -D warnings

interop: ## Peers not ours: Python, Node, buf, grpcurl. Installs what it needs into target/
	$(CARGO) build --bins
	tests/interop/run.sh

bench: ## Requests/s and p99 beside a bare tonic echo, in one run
	$(CARGO) bench --bench throughput

build:
	$(CARGO) build --bins

fmt:
	$(CARGO) fmt
