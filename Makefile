# Two commands for newcomers: `make run` and `make test`. All install what they need first, on Debian and its kin (.ci/need).

# A C compiler and cmake for the compression library and SQLite inside.
BUILD_NEEDS := gcc g++ make cmake pkg-config
# The demo's lines to paste.
RUN_NEEDS := curl swaks libnet-ssleay-perl openssl
# Real clients, a browser and shells, a real mail server and web frameworks to be in front of, gateways to compare with,
# the monitoring that scrapes Gatepost, a database of several nodes with its pooler, and a clock that can be set.
TEST_NEEDS := $(RUN_NEEDS) python3 python3-venv nodejs npm chromium msmtp postfix ruby-rack puma php-cli \
	gccgo-12 libcgi-pm-perl libmojolicious-perl zsh fish apache2-bin nginx-light haproxy lighttpd ruby-sinatra sqlite3 \
	prometheus postgresql pgbouncer faketime
# Who is compared with, what loads them, and a database of several nodes.
BENCH_NEEDS := nginx-light libnginx-mod-mail wrk nghttp2-client postfix postgresql

# Tests that run at the same time, three per core: most of them wait for a timer or for another process.
TEST_THREADS ?= $(shell expr 3 '*' "$$(nproc)")

.PHONY: run test hammer screenshots bench build check fuzz clean

run:
	@echo "make run: builds the demo and starts it; the first build takes about 4 minutes on two cores"
	.ci/need $(BUILD_NEEDS) $(RUN_NEEDS)
	cargo build --profile demo --bin gatepost
	exec target/demo/gatepost demo

test:
	@echo "make test: builds and runs all tests; about 20 minutes on two cores the first time, 15 after a change"
	.ci/need $(BUILD_NEEDS) $(TEST_NEEDS)
	tests/clients/install
	cargo test --tests --no-fail-fast -- --test-threads=$(TEST_THREADS)

# Three gateways on one PostgreSQL under every fault, until 5,000 revocations were answered. With SEED=NUMBER in another order.
hammer:
	.ci/need $(BUILD_NEEDS) $(TEST_NEEDS)
	cargo test --test fleet -- --ignored --nocapture hammer::

# The pictures of the README, taken from the demo.
screenshots:
	.ci/need $(BUILD_NEEDS) nodejs npm chromium
	tests/clients/install
	cargo test --test web -- --ignored --exact screenshots::screenshots

# The fuzz targets are a crate of their own, and nothing else compiles them.
check:
	.ci/need $(BUILD_NEEDS) python3 python3-venv shellcheck
	shellcheck .ci/run .ci/need .ci/deny fuzz/run tests/clients/install
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items
	.ci/deny
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo check --manifest-path fuzz/Cargo.toml --target-dir target/fuzz-check

build:
	.ci/need $(BUILD_NEEDS)
	cargo build --release

# All of them run, and at the end it fails where one did: a benchmark fails where a figure isn't as it is wanted.
bench:
	.ci/need $(BUILD_NEEDS) $(BENCH_NEEDS)
	unmet=""; \
	for bench in decision store flood load smtp fleet; do \
		cargo bench --bench $$bench || unmet="$$unmet $$bench"; \
	done; \
	[ -z "$$unmet" ] || { echo "not as it is wanted:$$unmet" >&2; exit 1; }

# A minute for each target. With TOOLCHAIN=NAME by that toolchain of rustup's (fuzz/run).
fuzz:
	.ci/need $(BUILD_NEEDS)
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz
	fuzz/run 60

clean:
	cargo clean
