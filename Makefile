# Xunjian: `make run` shows it on this machine, `make test` proves it. `make help` lists the rest.
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -buildid= -X main.version=$(VERSION)
# grpcnotrace leaves out gRPC's debugging pages, which nobody serves: the agent is to stay small.
GOBUILD := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags grpcnotrace -ldflags '$(LDFLAGS)'
PROGRAMS := agent collector simulator demo
AREA ?= agent
FUZZTIME ?= 20s

.DEFAULT_GOAL := help
.PHONY: help run test build setup lint race cover fuzz bench proto check fmt dist clean $(PROGRAMS)

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build everything and inspect this machine and four simulated services until Ctrl-C
	@exec bin/demo

build: $(PROGRAMS) ## build the programs into bin/

$(PROGRAMS):
	@$(GOBUILD) -o bin/$@ ./cmd/$@

test: ## run every test with the race detector
	@test/setup.sh || export XUNJIAN_WITHOUT_PEERS=1; GO="$(GO)" test/race.sh

race: test ## the same: tests always run with the race detector

setup: ## install the Debian packages that the tests compare with (as root; says what is missing otherwise)
	@test/setup.sh || true

lint: ## static analysis with the pinned golangci-lint
	@$(GO) tool -modfile=tools/lint/go.mod golangci-lint run ./...

fmt: ## format the sources
	@$(GO) tool -modfile=tools/lint/go.mod golangci-lint fmt ./...

cover: ## test coverage by function into coverage.out
	@test/setup.sh || export XUNJIAN_WITHOUT_PEERS=1; $(GO) test -timeout 14m -coverprofile=coverage.out ./... && $(GO) tool cover -func=coverage.out | tail -1

fuzz: ## fuzz every parser for FUZZTIME (default 20s) each
	@test/fuzz.sh $(FUZZTIME)

bench: build setup ## measure side by side with peers: make bench AREA=agent
	@$(GO) run ./bench -area '$(AREA)'

proto: ## generate the wire's Go code anew from proto/uplink/v1/uplink.proto
	@tools/proto/generate.sh

check: ## what CI checks besides the tests: tidy modules, formatting, lint, generated code
	@test/check.sh

dist: ## stripped programs for linux amd64, arm64 and loong64 into dist/
	@for arch in amd64 arm64 loong64; do for p in agent collector; do \
	  echo "dist/$$p-linux-$$arch"; GOOS=linux GOARCH=$$arch $(GOBUILD) -o dist/$$p-linux-$$arch ./cmd/$$p || exit 1; done; done

clean: ## remove what was built; data in .run/ stay
	@rm -rf bin dist coverage.out
