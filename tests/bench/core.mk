# The dispatch core by itself: ns a job, bytes a queued job, drain of a million.
.PHONY: bench-core
bench-core: $(BUILD)/bench/bench_core ## measure the dispatch core by itself
	@$<
