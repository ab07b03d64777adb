# Every target that people call has a ## line; `make` alone prints them.

GO       ?= go
TOOL     := $(GO) tool -modfile=tools/go.mod
FUZZTIME ?= 20s
COUNT    ?= 1
# The race detector needs a C compiler; without one the tests run all the same.
# It leaves out SQLite itself: C in the form of Go, whose memory it does not
# know, and which takes three times as long under it.
NOTC     := -gcflags=modernc.org/sqlite/lib=-race=false -d=checkptr=0
# Nobody debugs these programs, and without debugging information they link faster.
TESTS    := -ldflags=-w -p=4
RACE     := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race '$(NOTC)')

.DEFAULT_GOAL := help
.PHONY: help demo test check lint short race e2e bench bench-load fuzz build vuln tools

help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' Makefile

demo: ## place seven sample calls against a sandbox and show what happened to each (needs only Go)
	$(GO) run ./cmd/frontdesk demo --once

check: lint short ## before every commit: format, vet, staticcheck, tidy, quick tests (under 2 minutes)

test: ## everything: check, all tests with the race detector, end to end with real peers (under 15 minutes)
	scripts/tools.sh
	$(MAKE) --no-print-directory lint race e2e

bench: ## run the benchmarks; compares with bin/bench.old where there is one (COUNT=10 for figures to trust)
	@mkdir -p bin
	$(GO) test -run '^$$' -bench . -benchmem -count=$(COUNT) ./... | tee bin/bench.new
	@if [ -f bin/bench.old ]; then $(TOOL) benchstat bin/bench.old bin/bench.new; fi

bench-load: ## drive the built program with calls, beside kamailio where installed: CPU, memory, pacing (4 minutes)
	$(GO) run ./bench/redirect
	$(GO) run ./bench/greeting
	$(GO) run ./bench/bridge

e2e: ## only the end-to-end tests: SIPp, baresip and kamailio against the real program
	scripts/gotest.sh $(GO) test $(RACE) -tags=e2e -count=1 -parallel=6 -timeout=12m ./e2e/...

fuzz: ## fuzz every parser for FUZZTIME (20s) each
	GO='$(GO)' scripts/fuzz.sh $(FUZZTIME)

build: ## build the static binary bin/frontdesk
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/frontdesk ./cmd/frontdesk

tools: ## install the peers that end-to-end tests talk to (Debian, as root)
	scripts/tools.sh

vuln: ## look known vulnerabilities up (needs the network)
	$(TOOL) govulncheck ./...

lint:
	@bad=$$(gofmt -l .); if [ -n "$$bad" ]; then echo "not formatted, run gofmt -w:"; echo "$$bad"; exit 1; fi
	$(GO) vet -tags=e2e ./...
	$(TOOL) staticcheck -tags=e2e ./...
	$(GO) mod tidy -diff

short:
	$(GO) test $(RACE) $(TESTS) -short -timeout=5m ./...

race:
	@if [ -z "$(RACE)" ]; then echo "no C compiler: the tests run without the race detector"; fi
	scripts/gotest.sh $(GO) test $(RACE) $(TESTS) -shuffle=on -timeout=10m ./...
