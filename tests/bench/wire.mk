# The codec by itself: nanoseconds for each envelope and body.
.PHONY: bench-wire
$(BUILD)/bench/wire_bench: $(BUILD)/obj/tests/bench/wire_bench.o $(ARCHIVE)
	@mkdir -p $(@D)
	$(CC) $(LDOPT) $^ $(LDLIBS_ALL) $(LDFLAGS) -o $@

bench-wire: $(BUILD)/bench/wire_bench
	@$(BUILD)/bench/wire_bench
