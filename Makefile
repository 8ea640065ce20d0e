# Every target creates its own environment first; `make demo` and `make test` only need Python 3.11+.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test docs bench-cpu lint format install gpu gpu-pack clean
.DEFAULT_GOAL := demo

install: $(VENV)/installed

# torchattacks pins an old `requests` that it never imports and that conflicts with current packages, so install it
# without dependencies (setup.py lists scipy and tqdm, which it does use).
$(VENV)/installed: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(VENV)/bin/pip install --quiet --no-deps torchattacks==3.5.1
	touch $@

demo: install
	$(RUN) tools/demo.py

test: install
	$(RUN) -m pytest --numprocesses auto --dist worksteal

# Write the generated pages and build the site into build/site; a broken link or anchor is an error.
docs: install
	$(RUN) docs/generate
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml

# Measure the cost of attacks and training steps on this processor, in about 10 minutes.
bench-cpu: OUT ?= docs/bench_cpu.json
bench-cpu: install
	OMP_NUM_THREADS=1 $(RUN) benchmarks/bench_cpu.py --out $(OUT)

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: install
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# On a machine with a CUDA device, in its own Python; use GPU="--pack FILE.tar" without a network (make gpu-pack).
gpu:
	$(PYTHON) benchmarks/gpu.py $(GPU)

gpu-pack: install
	$(RUN) benchmarks/gpu.py pack --out gpu-pack.tar $(if $(DATA),--data $(DATA))

clean:
	rm -rf $(VENV) build dist *.egg-info
