# `make test` installs what is missing and runs everything.

BIN := target/debug/onlycare-signaling

.PHONY: help test setup check unit conformance page run

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: setup check unit conformance page ## everything, as CI runs it
	@echo "all tests passed"

setup: ## install what the tests need and this machine lacks
	@scripts/setup

check: ## format, lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

unit: ## rules, contracts, layering, documents, scenarios on real nodes
	cargo test --workspace --locked --quiet

conformance: $(BIN) ## the official Socket.IO client against two nodes
	node tests/node/conformance.mjs

page: $(BIN) ## the test page in a browser
	scripts/test-page

$(BIN): FORCE
	cargo build --locked

FORCE:

run: ## a node on this machine, with the test page at http://127.0.0.1:3001/
	cargo run
