# One command for each thing that a contributor does often; `make help` lists them. What they leave lies in build/, .venv/ and other
# places that .gitignore names. `make V=1` prints the commands of the compiler. NNPY_DEBUG=1 and NNPY_SANITIZE=... (build_ffi.py) are
# for each target that builds the extension.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
# How many random problems the engine's test solves, and their seed (without it: the time).
PROBLEMS ?= 60
SEED ?=
# How many random calls of the engine are made with its arrays between guard pages, and without them; for how many seconds libFuzzer
# looks for such calls.
CALLS ?= 300
SECONDS ?= 30
# Which tests: a file, file::test, or an expression for pytest -k. More arguments for pytest or the benchmark.
T ?=
ARGS ?=
V ?=

BIN = $(VENV)/bin
SOURCES = $(wildcard csrc/kernels/*.c csrc/*.c)

.DEFAULT_GOAL = build
.PHONY: build test fast ctest asan asan-c asan-python tsan lint docs linkcheck bench fuzz clean help run-problems \
	run-quantized run-hashes run-callers run-ieee754 run-elastic-team run-calls run-guard-pages run-fuzz
.DELETE_ON_ERROR:

build: $(VENV)/ready  ## .venv with nnpy, editable, and the extension built in place (the default)
	@mkdir -p build
	@$(BIN)/python build_ffi.py > build/extension.log 2>&1 || { cat build/extension.log; exit 1; }

$(VENV)/ready: pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

# ---- Python ----

# T is a path if there is such a file or folder, in tests/ or from here.
T_FILE = $(firstword $(subst ::, ,$(T)))
T_PATH = $(firstword $(wildcard $(T_FILE) tests/$(T_FILE) tests/$(T_FILE).py))
WHICH = $(if $(T),$(if $(T_PATH),$(T:$(T_FILE)%=$(T_PATH)%),-k '$(T)'))

test: build  ## all tests; T=test_fit.py, T=test_fit.py::test_name or T=expression for some
	$(BIN)/pytest -q $(WHICH) $(ARGS)

fast: build  ## the tests that take half a minute together: those without the mark slow
	$(BIN)/pytest -q -m 'not slow' $(WHICH) $(ARGS)

lint: $(VENV)/ready  ## ruff check, ruff format --check, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Warnings are errors; each build reads all pages anew, or it would not repeat the warnings of the last one.
SPHINX = $(BIN)/python -m sphinx -E -W --keep-going -q -d build/doctrees

docs: build $(VENV)/docs-ready  ## the manual, to build/docs; links and examples of README.md, CONTRIBUTING.md and docs
	$(SPHINX) -b html docs build/docs
	$(BIN)/pytest -q tests/test_docs.py README.md CONTRIBUTING.md docs

linkcheck: build $(VENV)/docs-ready  ## whether the links of the manual to other sites work; it needs the internet
	$(SPHINX) -b linkcheck docs build/linkcheck

$(VENV)/docs-ready: $(VENV)/ready
	$(BIN)/pip install -q --disable-pip-version-check -e '.[docs]'
	@touch $@

bench: build  ## the benchmarks beside PyTorch, JAX and others, which it installs; ARGS="--rounds 3"
	$(BIN)/pip install -q --disable-pip-version-check -e '.[bench]'
	$(BIN)/python benchmarks/run.py $(ARGS)

# ---- C: the engine's test, compiled file by file, once for each variant ----

VARIANT ?= plain
FLAGS_plain = -O2
FLAGS_asan = -Og -g3 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan = -Og -g3 -fsanitize=thread -DMAX_BLOCK=13 -DMIN_BLOCK=13 -DDEPTH_BLOCK=17 -DNN_RANDOM_TEAM_SIZES
CTEST_FLAGS = -std=c99 -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wpedantic -Werror -ffp-contract=off -pthread \
	$(FLAGS_$(VARIANT))
OUT = build/ctest-$(VARIANT)
LIBRARY = $(SOURCES:%.c=$(OUT)/%.o)
PROGRAMS = test_engine test_quantized test_ieee754 test_elastic_team fuzz_engine guard_pages
# libFuzzer: in clang. It looks for inputs that reach code which it has not seen.
FLAGS_libfuzzer = -O1 -gline-tables-only -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -DLIBFUZZER
LINK_libfuzzer = -fsanitize=fuzzer
# A make inside this one compiles in parallel, also where this one was not asked to.
CTEST = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))
Q = $(if $(V),,@)

ctest:  ## the engine's test in C, and the hashes of its bits; compiles what has changed
	@$(CTEST) VARIANT=plain run-problems run-quantized run-hashes run-callers run-ieee754 run-elastic-team run-calls run-guard-pages

asan: asan-c asan-python  ## the tests in C and in Python under AddressSanitizer and UndefinedBehaviorSanitizer

asan-c:
	@$(CTEST) VARIANT=asan run-problems run-quantized run-callers run-ieee754 run-elastic-team run-calls

# Files that have the engine compute a lot, without those that start compilers or browsers.
ASAN_TESTS = tests/test_agreement.py tests/test_arrays.py tests/test_network.py tests/test_fit.py tests/test_training.py \
	tests/test_checkpoint.py tests/test_inspection.py tests/test_ensemble.py tests/test_optimizers.py tests/test_samples.py \
	tests/test_jacobian.py tests/test_scaler.py tests/test_metrics.py tests/test_early_stopping.py tests/test_serialization.py

# Python leaks by design; a C++ runtime has to be there before a library that throws is loaded; LD_PRELOAD is for pytest alone.
asan-python: $(VENV)/ready
	NNPY_SANITIZE=address,undefined $(BIN)/python setup.py -q build --build-lib build/asan --build-temp build/asan-objects
	PYTHONPATH=$(CURDIR)/build/asan ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
		LD_PRELOAD="$(foreach name,libasan libubsan libstdc++,$(shell $(CC) -print-file-name=$(name).so))" \
		$(BIN)/pytest -q $(or $(WHICH),$(ASAN_TESTS)) -k 'not given_back' $(ARGS)

tsan:  ## the engine's threads under ThreadSanitizer
	@$(CTEST) VARIANT=tsan run-problems run-quantized run-hashes run-callers

fuzz:  ## libFuzzer on the engine, for SECONDS=30; it needs clang
	@$(CTEST) VARIANT=libfuzzer CC=clang run-fuzz

run-problems: $(OUT)/test_engine
	$< $(PROBLEMS) $(SEED)

run-quantized: $(OUT)/test_quantized
	$< $(PROBLEMS) $(SEED)

run-hashes: $(OUT)/test_engine
	$< hash > $(OUT)/hashes.txt
	diff tests/c/hashes.txt $(OUT)/hashes.txt

run-callers: $(OUT)/test_engine
	$< callers

run-ieee754: $(OUT)/test_ieee754
	$<

run-elastic-team: $(OUT)/test_elastic_team
	$<

run-calls: $(OUT)/fuzz_engine
	$< $(CALLS) $(SEED)

run-guard-pages: $(OUT)/guard_pages
	$< $(CALLS)

run-fuzz: $(OUT)/fuzz_engine
	@mkdir -p $(OUT)/corpus $(OUT)/findings
	$< -max_total_time=$(SECONDS) -max_len=256 -timeout=60 -verbosity=0 -print_final_stats=1 -artifact_prefix=$(OUT)/findings/ $(OUT)/corpus

$(OUT)/test_engine: LINK = -Wl,--wrap=malloc,--wrap=calloc
$(OUT)/test_elastic_team: LINK = -Wl,--wrap=nn_seconds
$(OUT)/fuzz_engine: LINK = $(LINK_$(VARIANT))
$(PROGRAMS:%=$(OUT)/%): $(OUT)/%: $(LIBRARY) $(OUT)/tests/c/%.o
	@echo "link $@"
	$(Q)$(CC) $(CTEST_FLAGS) -o $@ $^ -lm $(LINK)

$(OUT)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "cc   $<"
	$(Q)$(CC) $(CTEST_FLAGS) -Icsrc -MMD -MP -c -o $@ $<

-include $(LIBRARY:.o=.d) $(PROGRAMS:%=$(OUT)/tests/c/%.d)

# ---- The rest ----

clean:  ## removes what the other targets leave, except .venv
	rm -rf build dist nnpy.egg-info nnpy/_libnn.c nnpy/_libnn*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name '.venv*' -prune -o -name __pycache__ -exec rm -rf {} +
	find csrc nnpy -name '*.o' -delete

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*  ## /\1 /p' Makefile | while read -r name text; do printf 'make %-9s %s\n' "$$name" "$$text"; done
