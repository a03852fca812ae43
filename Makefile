PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
OUT ?= out/demo

.PHONY: demo test test-ci test-full lint docs bench clean

demo: $(STAMP)
	$(BIN)/sit demo --out $(OUT)

test: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" -q

# The part of the second tier that CI has time for: the documentation, and trainings that are killed and go on.
test-ci: $(STAMP)
	$(BIN)/pytest -n 2 -m slow -q tests/test_docs.py tests/backbone/test_backbone_train_*.py

test-full: $(STAMP)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -q

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -b html docs out/docs

# Every benchmark, with its record under benchmarks/results; make bench SMOKE=1 only shows that they work, in minutes.
bench: $(STAMP)
	set -e; for script in $$(grep -l '^def main' benchmarks/*.py); do \
		echo $$script; $(BIN)/python $$script $(if $(SMOKE),--smoke,--save); done

clean:
	rm -rf .venv out docs/examples

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("expected: Python 3.11 or newer; received: " + sys.version.split()[0] + "; remedy: make PYTHON=python3.11 " + "$(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	# Three peers name torchvision as a requirement and need it for images alone.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps k-diffusion azula torch-fidelity
	@touch $@
