# imx: `make demo` runs the main job, `make test` passes the tests; both install what they need.

VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   := $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
GO       := CGO_ENABLED=0 go
# One way to compile for all of it, so that what one step compiled the others find: the binary, the linter's types, what tests build.
export GOFLAGS := $(filter-out -trimpath,$(shell go env GOFLAGS)) -trimpath
# Packages with tests that do less under the race detector (internal/raced), and are therefore tested without it, too.
RACED_LESS = $(shell grep -rl '"imx/internal/raced"' --include=*_test.go internal | xargs -n1 dirname | sort -u | grep -v '^internal/cli$$' | sed 's|^|./|')
# Packages that the race detector has nothing to find in: neither they nor what they import start a goroutine (internal/arch holds that).
# Those are here whose tests compute long.
ALONE := arch check deb erofs foreign inventory leak plan policy rollout scale template vuln
RACED = $(filter-out $(ALONE:%=imx/internal/%),$(shell go list ./...))
# What Debian must provide: to build images and run instances, then only for tests.
RUN_DEPS  := crun conmon xz-utils util-linux ca-certificates debian-archive-keyring git
TEST_DEPS := openssh-client openssh-server gcc libc6-dev skopeo nftables iproute2 softhsm2
# What bench/ measures the builder and the registry against, and what it reads their results with.
BENCH_DEPS := mmdebstrap buildah apt jq zstd util-linux e2fsprogs docker-registry curl podman containerd nginx-light
# Debian names of what is missing, so that a machine that has everything needs no root and no network.
missing   = $(shell for p in $(1); do dpkg -s $$p 2>/dev/null | grep -q '^Status: install ok' || echo $$p; done)

.PHONY: help deps deps-test build client check lint vet test sim script soak golden fuzz deps-bench bench bench-registry bench-builder demo clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

deps: ## install what imx needs from Debian, if it is missing
	@set -- $(call missing,$(RUN_DEPS)); [ $$# -eq 0 ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$@"; }

deps-test: deps
	@set -- $(call missing,$(TEST_DEPS)); [ $$# -eq 0 ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$@"; }

build: ## bin/imx
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/imx ./cmd/imx

# Without inlining it is smaller by a tenth; it waits for servers and people, not for itself.
CLIENTS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64
client: ## bin/imx-client-*: the small client for people's own computers; CLIENTS=linux/arm64 for one
	for t in $(CLIENTS); do \
	  GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -trimpath -tags client -gcflags=all=-l -ldflags '$(LDFLAGS)' -o bin/imx-client-$${t%/*}-$${t#*/} ./cmd/imx || exit 1; done
	@ls -l bin/imx-client-* | awk '{print $$5, $$9; if ($$5 > 15*1024*1024) {print "over 15 MiB"; exit 1}}'

bin/golangci-lint: tools/go.mod
	cd tools && $(GO) build -o ../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

lint: bin/golangci-lint
	CGO_ENABLED=0 bin/golangci-lint run ./...
	bin/golangci-lint fmt --diff

vet:
	go vet ./...
	go vet -tags client ./cmd/imx

check: lint vet ## lint, vet, import rules, short tests
	go test -short ./...

# Of the small clients it builds the one that its tests use, and the largest.
test: CLIENTS = linux/amd64 windows/amd64
# What fails soonest comes first. The linter has vet's checks of all packages, so that neither is asked again: not by `go vet`, nor by
# `go test`.
test: deps-test build lint client ## everything: lint, and all tests with the race detector
	$(GO) vet -tags client ./cmd/imx
	$(GO) test -vet=off -timeout 30m $(ALONE:%=./internal/%) $(RACED_LESS)
	CGO_ENABLED=1 go test -vet=off -race -timeout 30m $(RACED)
	CGO_ENABLED=1 go test -tags pkcs11 ./internal/keyring
	cd test/cosign && $(GO) test -timeout 30m ./...
	cd test/acme && $(GO) test -timeout 10m ./...

sim: ## tens of thousands of random histories of whole servers and of single services: HUNDREDS=100 of each
	go test ./internal/sim -run 'Histor|Rest' -hundreds $(or $(HUNDREDS),100) -timeout 12h
	go test ./internal/rollout -run Laws -hundreds $(or $(HUNDREDS),100) -timeout 12h

script: build ## the script tests alone
	go test ./internal/cli/... -run Script

soak: deps-test ## ten minutes of load on a server that is killed at random moments, with its instances and monitors; FOR=1m SEED=7
	go test ./test/soak -v -count=1 -timeout 2h -run Soak -for $(or $(FOR),10m) -seed $(or $(SEED),1)

golden: ## rewrite golden files, then show what changed: commit it only if you understand why
	for p in $$(grep -rlE 'flag.Bool\("update"' --include=*_test.go internal | xargs -n1 dirname | sort -u); do go test ./$$p -update || exit 1; done
	for p in $$(grep -rlE 'flag.Bool\("rewrite"|datadriven' --include=*_test.go internal | xargs -n1 dirname | sort -u); do go test ./$$p -rewrite || exit 1; done
	git diff --stat

fuzz: ## each parser's fuzzer for half a minute
	@for p in $$(grep -rl '^func Fuzz' --include=*_test.go internal | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z]+' $$p/*_test.go | sed 's/func //'); do \
	    echo "== $$p $$f"; go test ./$$p -run '^$$' -fuzz "^$$f\$$" -fuzztime 30s || exit 1; done; done

deps-bench: deps-test ## install what imx is measured against
	@set -- $(call missing,$(BENCH_DEPS)); [ $$# -eq 0 ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$@"; }

bench: deps-bench build ## the figures of docs/benchmarks.md, all of them
	./bench/run

bench-registry: deps-bench build ## those of the registry alone
	./bench/registry

bench-builder: deps-bench build ## those of the builder alone; FIGURES="cold sizes" for some
	./bench/builder $(FIGURES)

demo: deps build ## the main job, from a template to a rollback; KEEP=1 leaves it running
	bin/imx demo $(if $(KEEP),--keep)

clean: ## what builds made here
	rm -rf bin
