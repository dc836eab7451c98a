# Fuzz targets (libFuzzer, clang, ASan + UBSan + leaks): one a decoder of bytes from outside.
# `make fuzz` runs each for FUZZ_S seconds, FUZZ=params one alone; `make fuzz-corpus` replays what
# is committed. Built by clang into a directory of its own.
FUZZ_S     ?= 60
FUZZ_BUILD := build/fuzz
FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_RUN    = $(if $(FUZZ),$(FUZZ),$(FUZZ_NAMES))
FUZZ_ENV   := ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 \
              LSAN_OPTIONS=suppressions=tests/lsan.supp:print_suppressions=0 UBSAN_OPTIONS=print_stacktrace=1

.PHONY: fuzz fuzz-built fuzz-corpus fuzz-targets
# The same Makefile again: other compiler, other flags, other directory.
fuzz-built:
	@$(MAKE) --no-print-directory $(JOBS) -s fuzz-targets FUZZING=1 CC=clang BUILD=$(FUZZ_BUILD)

fuzz-targets: $(patsubst %,$(FUZZ_BUILD)/fuzz/%,$(FUZZ_NAMES))

fuzz: fuzz-built ## fuzz every decoder of bytes from outside: FUZZ_S=60 each, FUZZ=name one alone
	@FUZZ_S=$(FUZZ_S) $(FUZZ_ENV) tests/fuzz/run.sh fuzz $(FUZZ_BUILD) $(FUZZ_RUN)

fuzz-corpus: fuzz-built ## replay the fuzz targets' committed corpora
	@$(FUZZ_ENV) tests/fuzz/run.sh corpus $(FUZZ_BUILD) $(FUZZ_RUN)

$(FUZZ_BUILD)/fuzz/%: $(FUZZ_BUILD)/obj/tests/fuzz/fuzz_%.o $(ARCHIVE)
	@mkdir -p $(@D)
	$(CXX) $(LDOPT) -fsanitize=fuzzer $^ $(LDLIBS_ALL) $(LDFLAGS) -o $@
