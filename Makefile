# QuckChat: everything a contributor runs. `make check` is the whole truth; CI runs nothing else (.ci/run).

SHELL := /bin/bash
.DEFAULT_GOAL := build
.NOTPARALLEL:

export CGO_ENABLED := 0

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD   := go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'
TOOL    := go tool -modfile=tools/go.mod

# modernc.org/sqlite is a translation of C made for exactly one libc: a newer one compiles, and fails at run time.
LIBC := v1.79.0

MAX_LINES := 450

GO_FILES = find . \( -name node_modules -o -name .git -o -path ./bin -o -path ./data \) -prune -o -type f -name '*.go' -print
HEADING  = @printf '\n== %s\n'

.PHONY: help run build cross check test torture bench fmt golden clean \
	check-format check-size check-modules check-vet check-imports check-lint check-smoke

help: ## list what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done

build: ## bin/quckchat for this machine
	$(BUILD) -o bin/quckchat ./cmd/quckchat

run: build ## build, and serve from ./data
	bin/quckchat serve --data ./data

check: check-format check-size check-modules check-vet check-imports check-lint cross check-smoke test ## everything that must hold before a commit lands
	$(HEADING) 'all checks passed'

check-format:
	$(HEADING) 'format (gofmt)'
	@files=$$($(GO_FILES) | xargs -r gofmt -l) || exit 1; \
	if [ -n "$$files" ]; then printf 'Not formatted, run `make fmt`:\n%s\n' "$$files"; exit 1; fi

check-size:
	$(HEADING) 'file size (at most $(MAX_LINES) lines outside tests)'
	@long=$$($(GO_FILES) | grep -v '_test\.go$$' | xargs -r awk 'FNR == $(MAX_LINES) + 1 { print FILENAME }'); \
	for file in $$long; do \
		echo "$$file has $$(wc -l < "$$file") lines, more than $(MAX_LINES): split it by feature, not by layer."; \
	done; [ -z "$$long" ]

check-modules:
	$(HEADING) 'go.mod is tidy, modernc.org/libc is $(LIBC)'
	@libc=$$(go list -m -f '{{.Version}}' modernc.org/libc 2>/dev/null); \
	if [ -n "$$libc" ] && [ "$$libc" != $(LIBC) ]; then \
		echo "modernc.org/libc is $$libc, but modernc.org/sqlite needs $(LIBC): go get modernc.org/libc@$(LIBC)."; exit 1; \
	fi
	@go mod tidy -diff || { echo 'go.mod or go.sum is not tidy: run `go mod tidy`.'; exit 1; }

check-vet:
	$(HEADING) 'go vet'
	@go vet ./...
	@go vet -tags 'heif nodynamic' ./server/media/picture
	@go vet -C tools ./...

check-imports:
	$(HEADING) 'who imports whom (depguard, .depguard.yml)'
	@$(TOOL) depguard ./...

check-lint:
	$(HEADING) 'staticcheck (staticcheck.conf)'
	@$(TOOL) staticcheck ./...

cross: ## bin/quckchat-linux-amd64 and -arm64, static
	$(HEADING) 'static builds for linux/amd64 and linux/arm64, version $(VERSION)'
	GOOS=linux GOARCH=amd64 $(BUILD) -o bin/quckchat-linux-amd64 ./cmd/quckchat
	GOOS=linux GOARCH=arm64 $(BUILD) -o bin/quckchat-linux-arm64 ./cmd/quckchat

check-smoke: build
	$(HEADING) 'the binary starts, is ready, and stops on SIGTERM'
	@go run -C tools ./smoke '$(CURDIR)/bin/quckchat'

# Golden files are compared by the tests themselves; that no test rewrites one is seen by git.
GOLDEN = '*.golden' '*testdata/*' storage/schema.sql 'docs/configuration.md' 'docs/protocol.md'
GOLDEN_STATE = if git rev-parse --git-dir >/dev/null 2>&1; then git diff -- $(GOLDEN); git status --porcelain -- $(GOLDEN); fi

test: ## all tests with the race detector; TESTFLAGS=-count=1 runs them even if nothing changed
	$(HEADING) 'tests (go test -race)'
	@command -v "$$(go env CC)" >/dev/null || { \
		echo "The race detector needs a C compiler, and $$(go env CC) was not found: apt-get install gcc libc6-dev."; exit 1; }
	@command -v npm >/dev/null || echo 'SKIPPED: npm was not found, the tests with the stock Socket.IO client do not run.'
	@for need in ip nft sysctl chromium; do \
		[ "$$(id -u)" = 0 ] && command -v $$need >/dev/null || { \
			echo "SKIPPED: without root, or without $$need, the faults of calls are not made, and the call doctor is not tested on them."; break; }; done
	@before=$$($(GOLDEN_STATE)); \
	CGO_ENABLED=1 go test -race -vet=off -timeout 10m $(TESTFLAGS) ./... || exit 1; \
	go test -tags 'heif nodynamic' -vet=off -run 'HEIC|AVIF' $(TESTFLAGS) ./server/media/picture || exit 1; \
	after=$$($(GOLDEN_STATE)); \
	if [ "$$before" != "$$after" ]; then printf 'The tests changed golden files:\n%s\n' "$$after"; exit 1; fi

torture: ## kill -9, full disks, stops under load against the real binary, ten rounds; as root for all of it; then random operations for minutes
	QUCKCHAT_TORTURE=1 go test -count=1 -timeout 10m -v -run 'Kill|Resumable|Full|Grow|Neither|Stop|Second|HangUp' ./cmd/quckchat
	QUCKCHAT_TORTURE=1 go test -count=1 -timeout 10m -v ./server/modeltest

bench: ## the load generator; ARGS='...' is passed on
	go run ./bench -out bench/RESULTS.md $(ARGS)

fmt: ## format all Go files
	@$(GO_FILES) | xargs -r gofmt -l -w

golden: ## rewrite the golden files of the packages whose tests take -update
	@dirs=$$($(GO_FILES) | grep '_test\.go$$' | xargs -r grep -lE 'flag\.Bool(Var)?\(.*"update"|x/exp/(golden|teatest)"' \
		| xargs -r -n1 dirname | sort -u); \
	if [ -z "$$dirs" ]; then echo 'No test takes -update yet.'; else go test $$dirs -update; fi

clean: ## remove what was built (not ./data)
	rm -rf bin
