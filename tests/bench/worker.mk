# Ten thousand calls in flight by one worker, beside bare libcurl.
.PHONY: bench-worker
bench-worker: all bench-built
	@$(PYTHON) tests/bench/flight.py
