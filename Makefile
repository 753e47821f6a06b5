# `make demo` and `make test` are all a newcomer needs: both make the environment first.
# RECBOLE, the Python of an environment with RecBole (docs/benchmarks.md), adds it to `evidence` and `benchmark`.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
OUT ?= docs/evidence
REPRODUCE := OMP_NUM_THREADS=1 $(RUN) -m lightning_vq reproduce --out $(OUT)/papers --parallel 2

.PHONY: demo test lint docs notebooks evidence benchmark clean

demo: $(VENV)/.made
	$(RUN) -m lightning_vq fit --config conf/cove_lgcn.yaml
	@echo 'To enter the environment first: . $(VENV)/bin/activate'

# Two workers of one thread each: faster on two cores than one worker of two, and steadier.
test: lint
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal

lint: $(VENV)/.made
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(VENV)/.made
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

notebooks: $(VENV)/.made
	OMP_NUM_THREADS=1 $(RUN) notebooks/execute.py --parallel 2

evidence: $(VENV)/.made
	$(RUN) benchmarks/evidence.py $(OUT)
	$(RUN) benchmarks/evidence.py $(OUT) --tables
	$(REPRODUCE) rechorus/grocery
	$(REPRODUCE) cage/table2 --rows 'Grocery *'
	$(REPRODUCE) cage/figure4
	$(REPRODUCE) rechorus/ml-1m
	$(REPRODUCE) cage/table2 --rows 'MovieLens *'
	$(REPRODUCE) mgqe/table3
	$(REPRODUCE) cage/table2 --rows 'Toys *'
	$(REPRODUCE) cage/table8 --parallel 1
	$(REPRODUCE) cove/table3
	$(REPRODUCE) cove/table3_equal
	$(REPRODUCE) cage/table3
	$(REPRODUCE) cage/figure4_ctr
	$(REPRODUCE) cage/appendix_f
	$(REPRODUCE) bars/frappe
	$(REPRODUCE) cage/table7
	$(REPRODUCE) cage/table6
	$(REPRODUCE) cage/table8_ctr --parallel 1
	$(REPRODUCE) cage/table1 --rows 'AotM *'
	$(REPRODUCE) cage/table1 --rows 'attlist *'
	$(REPRODUCE) bars/ml-1m-seq
	$(REPRODUCE) cage/table4
	$(REPRODUCE) cage/figure5
	$(REPRODUCE) mgqe/table4
	$(REPRODUCE) mgqe/table6
	$(REPRODUCE) mgqe/table5
	$(REPRODUCE) mgqe/figure6
	$(REPRODUCE) dqrec/table1
	$(REPRODUCE) dqrec/table3
	$(REPRODUCE) dqrec/figure3
	$(RUN) -m lightning_vq reproduce --out $(OUT)/papers dqrec/figure4
	$(RUN) benchmarks/anchors.py --out $(OUT)/papers/dqrec/table1/anchors.csv
	$(if $(RECBOLE),$(RUN) benchmarks/against_recbole.py --recbole $(RECBOLE))

benchmark: $(VENV)/.made
	$(RUN) benchmarks/speed.py --out speed.json $(if $(RECBOLE),--recbole $(RECBOLE))
	$(RUN) benchmarks/clicks.py --out clicks.json $(if $(RECBOLE),--recbole $(RECBOLE))
	$(RUN) benchmarks/lists.py --out lists.json $(if $(RECBOLE),--recbole $(RECBOLE))
	$(RUN) benchmarks/prepare_clicks.py
	$(RUN) benchmarks/compressed.py --out compressed.json
	$(RUN) benchmarks/row_sharded.py

$(VENV)/.made: setup.cfg pyproject.toml constraints.txt
	@echo 'making $(VENV): torch and the rest, some minutes'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet -c constraints.txt torch
	$(VENV)/bin/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs site
