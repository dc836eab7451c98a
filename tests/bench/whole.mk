# The whole way: gateway → broker → worker → sandbox, beside the same load straight onto the sandbox.
.PHONY: bench-whole
bench-whole: all
	@$(PYTHON) tests/bench/whole.py
