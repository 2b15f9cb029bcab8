# Two commands for newcomers: `make run` and `make test`. Both install what they need first, on Debian and its kin.

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT := $(SUDO) DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends
# What building takes: a C compiler and cmake for the compression library and SQLite inside.
BUILD_NEEDS := cc:gcc g++:g++ make:make cmake:cmake pkg-config:pkg-config
TEST_NEEDS := $(BUILD_NEEDS) curl:curl python3:python3 openssl:openssl htpasswd:apache2-utils node:nodejs npm:npm swaks:swaks msmtp:msmtp smtp-sink:postfix
BENCH_NEEDS := $(BUILD_NEEDS) nginx:nginx-light wrk:wrk smtp-sink:postfix

# $(call install,command:package …): the packages whose commands aren't there.
define install
	@missing=""; for need in $(1); do \
		command -v "$${need%%:*}" >/dev/null 2>&1 || PATH="$$PATH:/usr/sbin:/sbin" command -v "$${need%%:*}" >/dev/null 2>&1 \
			|| missing="$$missing $${need##*:}"; \
	done; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; $(SUDO) apt-get update -q && $(APT) $$missing; fi
endef

.PHONY: run test bench build check fuzz clean

run:
	$(call install,$(BUILD_NEEDS) curl:curl swaks:swaks)
	@perl -MNet::SSLeay -e 1 2>/dev/null || $(APT) libnet-ssleay-perl
	cargo build --profile demo --bin gatepost
	exec target/demo/gatepost demo

test:
	$(call install,$(TEST_NEEDS))
	@perl -MNet::SSLeay -e 1 2>/dev/null || $(APT) libnet-ssleay-perl
	python3 -c 'import ensurepip' 2>/dev/null || { $(SUDO) apt-get update -q && $(APT) python3-venv; }
	tests/clients/install
	cargo test --lib --bins --tests --no-fail-fast

check:
	$(call install,$(BUILD_NEEDS))
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

build:
	$(call install,$(BUILD_NEEDS))
	cargo build --release

bench:
	$(call install,$(BENCH_NEEDS))
	[ -e /usr/lib/nginx/modules/ngx_mail_module.so ] || { $(SUDO) apt-get update -q && $(APT) libnginx-mod-mail; }
	cargo bench --bench decision
	cargo bench --bench store
	cargo bench --bench load
	cargo bench --bench smtp

# A minute for each target; needs the nightly toolchain.
fuzz:
	$(call install,$(BUILD_NEEDS))
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz
	fuzz/run 60

clean:
	cargo clean
