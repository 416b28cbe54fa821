# `make demo` and `make test` do all their set-up on a bare machine with Python 3.11 and make; a second run sets
# nothing up again. Stamps live in .stamps/; remove it to set up afresh.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
DATA := $(if $(REGULARS_DATA),$(REGULARS_DATA),$(if $(wildcard ../shared/data),$(abspath ../shared/data)))
export OMP_WAIT_POLICY := passive

.PHONY: demo test test-quick coverage lint bench docs clean

.stamps/core: pyproject.toml constraints.txt
	@mkdir -p .stamps
	@echo "Setting up $(VENV): the first run takes a minute or two."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.stamps/test: .stamps/core bin/setup-tests
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,deep]'
	@sh bin/setup-tests
	@touch $@

demo: .stamps/core
	@$(BIN)/regulars demo $(ARGS)

lint: .stamps/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint coverage

# The whole suite, then the tests that run kernels on tiny inputs once more without the compiler: no tracer sees into
# machine code. Left out of the second run is what would take minutes there.
KERNEL_TESTS := tests/core/test_topk.py tests/clean/test_sessions.py tests/profiles tests/rank/test_candidates.py \
  tests/rank/test_draw.py tests/models/test_gram.py tests/models/test_links.py tests/models/test_neighbours.py \
  tests/models/test_als.py tests/models/deep/test_layers.py
TOO_LONG := 100_000_draws or wrong_propensity or tenth_of_the_work or threads or cg_falls or with_implicit \
  or order_leads_to_the_batch or goes_on_live or many_items

coverage: .stamps/test
	REGULARS_DATA=$(DATA) $(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-append --cov-report= \
	  -k 'not ($(TOO_LONG))' $(KERNEL_TESTS)
	@echo "Branch coverage in per cent (at least 90):"
	@$(BIN)/python -m coverage report --format=total --fail-under=90

test-quick: .stamps/test
	REGULARS_DATA=$(DATA) $(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow'

# Every table of docs/benchmarks.md: most of a day. One: python bench/run.py NAME --data DIR --save
BENCHES := online-retail ml1m-ncf gowalla ml1m-sasrec amazon-beauty amazon-sports diginetica retailrocket-sessions tafeng \
  retailrocket-funnel cold-start transfer ratings-ml100k als-speed knn-speed topk-speed csr-speed \
  sequence-serving warm-retrain defaults practice-shop crash stages growth

bench: .stamps/test
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@for name in $(BENCHES); do \
	  $(BIN)/python bench/run.py $$name --data $(DATA) --json --save || exit 1; done

docs: .stamps/core
	@$(BIN)/python -c 'from regulars import show; print(show.settings_reference(), end="")' > docs/settings.md
	@$(BIN)/python bench/page.py > docs/benchmarks.md
	@$(BIN)/python bench/model_pages.py docs/models

clean:
	rm -rf $(VENV) .stamps .pytest_cache .mypy_cache .ruff_cache
