# otpq: `make help` lists the targets. Two commands are all anybody needs: `make run`, `make test`.
#
# Variables: BUILD=dir (default build), SAN=1 (ASan + UBSan, into build/asan), CC=clang, WERROR=1.

ifeq ($(origin CC),default)
CC := gcc
endif
# The one file of C++ is compiled by the same family: its sanitizers and hardening must agree.
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(CC)),$(subst clang,clang++,$(CC)),g++)
endif
BUILD   ?= build$(if $(SAN),/asan)
VERSION := 0.1.0
PYTHON  := /usr/bin/python3
JOBS    := -j$(shell nproc)

# ---- flags ------------------------------------------------------------------------------------
PACKAGES_PC := libzmq libcurl hiredis libevent jansson yaml-0.1 libpcre2-8 libcrypto libsystemd icu-i18n \
               libqrencode libcrypt
WARN   := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion -Wvla
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIC \
          -D_FORTIFY_SOURCE=2 -Wformat -Wformat-security
ifdef FUZZING
OPT   := -O1 -g -fPIC -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
         -fno-omit-frame-pointer
LDOPT := -fsanitize=address,undefined
else ifdef SAN
OPT   := -O1 -g -fPIC -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDOPT := -fsanitize=address,undefined
else
OPT   := -O2 -g $(HARDEN)
LDOPT := -pie -Wl,-z,relro,-z,now,-z,noexecstack
endif
ifdef WERROR
WARN  += -Werror
endif
ifneq ($(shell command -v pkg-config),)
PC_CFLAGS := $(shell pkg-config --cflags $(PACKAGES_PC) 2>/dev/null)
PC_LIBS   := $(shell pkg-config --libs $(PACKAGES_PC) 2>/dev/null)
endif
CFLAGS_ALL = -std=gnu11 -D_GNU_SOURCE -DOTPQ_VERSION='"$(VERSION)"' $(WARN) $(OPT) -I. \
             -Iclients/libotpq $(PC_CFLAGS) $(CFLAGS)
CXXFLAGS_ALL = -std=gnu++17 $(filter-out -Wstrict-prototypes -Wmissing-prototypes,$(WARN)) $(OPT) \
               -I. $(CXXFLAGS)
LDLIBS_ALL = $(PC_LIBS) -lphonenumber -lstdc++ -lm -lpthread

# ---- what there is ----------------------------------------------------------------------------
common_src  := $(wildcard common/base/*.c common/meaning/*.c common/meaning/*.cc common/adapters/*.c \
                          common/adapters/*.cc)
libotpq_src := $(wildcard clients/libotpq/*.c)
broker_src  := $(filter-out broker/main.c,$(wildcard broker/core/*.c broker/*.c))
workers_src := $(filter-out workers/main.c,$(wildcard workers/*.c))
gateway_src := $(filter-out gateway/main.c,$(wildcard gateway/*.c))
command_src := $(filter-out clients/otpq/main.c,$(wildcard clients/otpq/*.c))
lib_src     := $(common_src) $(libotpq_src) $(broker_src) $(workers_src) $(gateway_src) $(command_src)
unit_src    := $(wildcard tests/unit/test_*.c)
ASSETS      := $(wildcard common/adapters/lua/*.lua deploy/*.yaml gateway/pages/*)

obj = $(patsubst %.cc,$(BUILD)/obj/%.o,$(patsubst %.c,$(BUILD)/obj/%.o,$(1)))
PROGRAMS := $(patsubst %,$(BUILD)/bin/%,otpq-broker otpq-worker otpq-gateway otpq)
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(unit_src))
ARCHIVE  := $(BUILD)/libotpq-all.a

.PHONY: all help run demo test tests-built unit deps deps-test deps-bench bench install clean
.DEFAULT_GOAL := all

all: $(PROGRAMS) ## build the programs into build/bin/ (SAN=1: sanitized, into build/asan/bin/)

# ---- the two commands, and what they stand on ---------------------------------------------------
# Compiler lines are for those who work on otpq: plain `make` shows them.
define build_quietly
$(MAKE) --no-print-directory -q all 2>/dev/null || echo "building into $(BUILD)/"; \
$(MAKE) --no-print-directory $(JOBS) -s all
endef

run: deps ## install what is missing, build, run a whole node, show a first OTP; Ctrl-C ends it
	@$(build_quietly)
	@exec $(BUILD)/bin/otpq up --demo

demo: deps ## the same with one flow, for machines without a person: exit code 0 or 1
	@$(build_quietly)
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && trap : INT TERM HUP && \
	    $(BUILD)/bin/otpq up --demo --once --dir "$$dir"

test: deps-test ## install what tests need, build, run every test; ends with "N passed, N failed"
	@$(MAKE) --no-print-directory $(JOBS) -s tests-built
	@$(MAKE) --no-print-directory $(JOBS) -s tests-built SAN=1
	@$(PYTHON) tests/run.py $(if $(ONLY),--only $(ONLY))

tests-built: all $(UNITS) libotpq sim-built failing-built

unit: $(UNITS) ## build and run the unit tests alone
	@for t in $(UNITS); do echo "== $$t"; $$t || exit 1; done

bench: deps-bench ## measure: broker, stored jobs, whole way, systems, calls in flight, numbers; prints ratios
	@$(MAKE) --no-print-directory $(JOBS) all bench-built
	@$(MAKE) --no-print-directory bench-broker bench-stored bench-whole bench-systems bench-worker bench-phone

# Debian's packages, from the one list; asks for nothing when all are there. A lock that another apt
# holds is waited for: a fresh machine updates itself first. Debian starts the services of packages,
# and kannel's listens on every address: when the tests brought it, it is ended and not started at boot.
deps: KINDS := build|run
deps-test: KINDS := build|run|test
deps-bench: KINDS := build|run|bench
deps deps-test deps-bench: ## (deps) install the Debian packages of deploy/packages.txt
	@missing=$$(awk '$$1 ~ /^($(KINDS))$$/ { print $$2 }' deploy/packages.txt | while read -r p; do \
	    dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	echo "installing:" $$missing; \
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	if [ -n "$$sudo" ] && ! command -v sudo >/dev/null; then \
	    echo "otpq: that needs root, and sudo is not here: as root, run apt-get install" $$missing >&2; \
	    exit 1; \
	fi; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    -o DPkg::Lock::Timeout=300 $$missing </dev/null >/dev/null || { \
	    echo "otpq: apt could not install them, its words are above; when it can again, repeat" \
	        "\`make $@\`, or install the packages named above by hand" >&2; \
	    exit 1; \
	}; \
	case " $$(echo $$missing) " in *" kannel "*) \
	    $$sudo service kannel stop >/dev/null 2>&1; \
	    $$sudo update-rc.d kannel disable >/dev/null 2>&1 || \
	        echo "otpq: kannel's own service could not be disabled" >&2;; \
	esac

# ---- rules --------------------------------------------------------------------------------------
# Said when something is to be compiled, so that `make help` and `make deps` work on a bare machine.
TOOLS  := $(if $(PC_LIBS),$(shell command -v $(firstword $(CC))))
NEEDED  = $(if $(TOOLS),,$(error the compiler ($(CC)) or libraries are missing: `make deps` installs \
          what a build needs, `make deps-test` what tests need (the list: deploy/packages.txt)))

$(BUILD)/obj/%.o: %.c Makefile
	$(NEEDED)@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.o: %.cc Makefile
	$(NEEDED)@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS_ALL) -MMD -MP -c $< -o $@

$(call obj,$(shell grep -ls 'base/asset.h' $(lib_src) 2>/dev/null)): $(ASSETS)
$(call obj,$(shell grep -ls 'base/asset.h' $(unit_src) 2>/dev/null)): $(wildcard docs/*.md)

$(ARCHIVE): $(call obj,$(lib_src))
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/bin/otpq-broker: $(call obj,broker/main.c) $(ARCHIVE)
$(BUILD)/bin/otpq-worker: $(call obj,workers/main.c) $(ARCHIVE)
$(BUILD)/bin/otpq-gateway: $(call obj,gateway/main.c) $(ARCHIVE)
$(BUILD)/bin/otpq: $(call obj,clients/otpq/main.c) $(ARCHIVE)
# A call costs a worker dozens of small allocations: jemalloc takes 15 to 20 % off its processor time.
# (The broker stays with libc: its size classes fit a queued job better.)
ifndef SAN
$(BUILD)/bin/otpq-worker: ALLOCATOR := -ljemalloc
endif
$(PROGRAMS):
	@mkdir -p $(@D)
	$(CC) $(LDOPT) $^ $(ALLOCATOR) $(LDLIBS_ALL) $(LDFLAGS) -o $@

$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(ARCHIVE)
	@mkdir -p $(@D)
	$(CC) $(LDOPT) $^ $(LDLIBS_ALL) -lcmocka $(LDFLAGS) -o $@

include $(wildcard clients/libotpq/*.mk tests/sim/*.mk tests/bench/*.mk tests/fuzz/*.mk tests/chaos/*.mk \
                   tests/failing/*.mk)

install: all install-libotpq ## programs, library and systemd units into DESTDIR/PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 deploy/systemd/*.service deploy/systemd/*.socket $(DESTDIR)$(PREFIX)/lib/systemd/system

clean: ## remove build/
	rm -rf build

help: ## this list
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | \
	    sed -E 's/^([a-z-]+)[^#]*## /\1\t/' | expand -t 17

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
.SECONDARY:
