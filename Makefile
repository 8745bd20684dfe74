# e2i_fs: everything needs only Python 3.11 or later and make.
#   make            what there is to do
PYTHON ?= python3
WORKERS ?= 2
TOOLS := .tools/bin
RUN := .venv/bin
OUT ?= demo-out
BENCH_OUT ?= bench-out

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-production test lint types bench docs wheel clean

help: ## say what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(TOOLS)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "e2i_fs needs Python 3.11 or later; say which with make PYTHON=python3.12")'
	@$(PYTHON) -m venv .tools
	@$(TOOLS)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

# Where Python may keep no bytecode itself, each process would compile anew all that it imports.
.venv/.ready: $(TOOLS)/uv pyproject.toml uv.lock
	@UV_PYTHON_DOWNLOADS=never $(TOOLS)/uv sync --quiet --frozen --all-extras $(if $(PYTHONDONTWRITEBYTECODE),--compile-bytecode) --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')"
	@touch $@

setup: .venv/.ready ## make the environment from uv.lock

demo: setup ## the whole road on generated E2I data; writes a report to demo-out/
	@$(RUN)/e2i-fs demo --out $(OUT)

demo-production: setup ## the same over PostgreSQL and Redis, which it starts and kills; they must be installed
	@$(RUN)/e2i-fs demo --production --out $(OUT)

test: setup ## every test, derandomised
	@HYPOTHESIS_PROFILE=ci $(RUN)/python -m pytest -q -n $(WORKERS) --dist worksteal

lint: setup ## ruff: rules and format
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .

types: setup ## mypy --strict on the packages
	@$(RUN)/mypy

bench: setup ## every benchmark, side by side, into bench-out/; QUICK=1 for the short form, ONLY="online busy" for some
	@$(RUN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) --out $(BENCH_OUT)

docs: setup ## the documentation, into site/
	@$(RUN)/mkdocs build --strict --quiet

wheel: setup ## the wheel, into dist/
	@$(TOOLS)/uv build --quiet --wheel

clean: ## remove everything that make made
	rm -rf .venv .tools dist site demo-out bench-out .mypy_cache .ruff_cache .pytest_cache .hypothesis
