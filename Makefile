# The inner loop of a contributor. `make help` lists the targets. All that they make lies in build/, .venv/ and what .gitignore names.
# NNPY_DEBUG=1 and NNPY_SANITIZE=... (see build_ffi.py) work with every target that builds the extension.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
# Random problems of the engine's test, and the seed of the first (empty: the time).
PROBLEMS ?= 60
SEED ?=
# A file, a file::test, or what pytest takes behind -k.
T ?=
ARGS ?=

BIN = $(VENV)/bin
SOURCES = $(wildcard csrc/*.c csrc/kernels/*.c)
HEADERS = $(wildcard csrc/*.h csrc/kernels/*.h)

.DEFAULT_GOAL = build
.PHONY: build test fast ctest asan tsan lint bench docs clean help run-problems run-hashes run-rest
.DELETE_ON_ERROR:

build: $(VENV)/ready  ## a virtual environment in .venv and the extension, in place: nnpy runs from this folder (the default)
	@$(BIN)/python build_ffi.py > build/extension.log 2>&1 || { cat build/extension.log; exit 1; }

$(VENV)/ready: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@mkdir -p build
	@touch $@

# ---- Python ----

PYTEST = $(BIN)/pytest -q $(if $(T),$(if $(wildcard $(firstword $(subst ::, ,$(T)))),$(T),-k '$(T)')) $(ARGS)

test: build  ## all tests; T=tests/test_fit.py, T=tests/test_fit.py::test_name or T=word for some
	$(PYTEST)

fast: build  ## the tests that take no more than half a minute together
	$(PYTEST) -m 'not slow'

lint: $(VENV)/ready  ## ruff (rules and layout) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: build  ## links and Python examples of README.md, CONTRIBUTING.md and docs/*.md
	$(BIN)/pytest -q tests/test_docs.py README.md CONTRIBUTING.md docs

bench: build  ## the benchmark table beside PyTorch, JAX, ... (ARGS="--rounds 3"); installs them first
	$(BIN)/pip install -q --disable-pip-version-check -e '.[bench]'
	$(BIN)/python benchmarks/run.py $(ARGS)

# ---- C: the engine's test, compiled file by file, once for each variant ----

VARIANT ?= plain
FLAGS_plain = -O2
FLAGS_asan = -Og -g3 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan = -Og -g3 -fsanitize=thread -DMAX_BLOCK=13 -DMIN_BLOCK=13 -DDEPTH_BLOCK=17
CTEST_FLAGS = -std=c99 -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wpedantic -Werror -ffp-contract=off -pthread \
	$(FLAGS_$(VARIANT))
OUT = build/ctest-$(VARIANT)
OBJECTS = $(SOURCES:%.c=$(OUT)/%.o) $(OUT)/tests/c/test_engine.o
PARALLEL = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS)) VARIANT=$(1)

ctest:  ## the engine in C: random problems against plain loops, hashes of the bits; compiles only what has changed
	@$(call PARALLEL,plain) run-problems run-hashes run-rest

asan:  ## the C tests and the Python tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(call PARALLEL,asan) run-problems run-rest

tsan:  ## the engine's threads under ThreadSanitizer
	@$(call PARALLEL,tsan) run-problems run-hashes run-rest

run-problems: $(OUT)/test_engine
	$< $(PROBLEMS) $(SEED)

run-hashes: $(OUT)/test_engine
	$< hash > $(OUT)/hashes.txt
	diff tests/c/hashes.txt $(OUT)/hashes.txt

run-rest: $(OUT)/test_engine
	$< callers
	$(if $(filter tsan,$(VARIANT)),,$< memory)

$(OUT)/test_engine: $(OBJECTS)
	$(CC) $(CTEST_FLAGS) -o $@ $^ -lm -Wl,--wrap=malloc,--wrap=calloc

$(OUT)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(CTEST_FLAGS) -Icsrc -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d)

# ---- The rest ----

clean:  ## removes all that the other targets leave, but for .venv
	rm -rf build dist nnpy.egg-info nnpy/_libnn.c nnpy/_libnn*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name .venv -prune -o -name __pycache__ -exec rm -rf {} +
	find csrc nnpy -name '*.o' -delete

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*  ## /\1\t/p' Makefile | sort | while IFS='	' read -r name text; do printf '  make %-6s %s\n' "$$name" "$$text"; done
