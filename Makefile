# Two commands are enough for a newcomer: `make demo` and `make test`. They do all set-up.
CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: demo test lint interop bench scale fuzz faults build fmt clean help

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

interop: ## Peers not ours: Python, Node, OpenSSL, SoftHSM, buf, grpcurl. Installs what it needs
	$(CARGO) build --bins
	tests/interop/run.sh

bench: ## Requests/s and p99 beside a bare tonic echo; leaves/s and peak memory; instructions/s and signatures
	$(CARGO) bench --bench throughput
	$(CARGO) bench --no-default-features --features testing --bench verifier
	$(CARGO) bench --no-default-features --bench instructions

scale: ## The same with a trail of ten million leaves; takes a while and some gigabytes in $TMPDIR
	$(CARGO) bench --bench throughput -- scale

# Seconds for each target.
FUZZ_TIME ?= 60
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

fuzz: ## Each parser under libFuzzer, FUZZ_TIME seconds each (needs cargo-fuzz and a nightly toolchain)
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { echo "missing: cargo install cargo-fuzz"; exit 1; }
	@for target in $(FUZZ_TARGETS); do \
	  $(CARGO) +nightly fuzz run $$target -- -max_total_time=$(FUZZ_TIME) -max_len=65536 || exit 1; \
	done

# Seconds for all of it.
FAULT_SECONDS ?= 600

faults: ## Kills at random and at named points, a disk and a PostgreSQL that fail, for FAULT_SECONDS; prints how many
	@tests/need-postgres.sh
	FAULT_SECONDS=$(FAULT_SECONDS) $(CARGO) test --test all for_make_faults -- --ignored --nocapture --test-threads 1

build:
	$(CARGO) build --bins

fmt:
	$(CARGO) fmt
