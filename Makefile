# make demo                cross entropy against the recall loss on synthetic street scenes: a table and a picture
# make demo-classification cross entropy against the decoupled network on long-tailed digits: two tables
# make results             the tables and the figure of the docs, from the logs in docs/logs
# make test                the suite on the maintained forks (onedl), in an environment of its own, then the next two
# make test-gpu-kernels    the kernels of GPUs, without one: Triton's interpreter takes a process of its own
# make test-mmdet          the losses in the heads of mmdet, which takes a folder and a process of its own
# make test-openmmlab      the suite on the stock packages; compiles mmcv the first time
# make test-matrix         the suite on all that is tested: stock, and the forks on an older, this and a newer PyTorch
# make test-slurm          training through a Slurm of this machine alone (Debian: slurm-wlm and munge); three minutes
# make docs                the documentation site in build/site, which opens from disk; runs the notebooks; an error in
#                          one is an error, and so is a warning, such as a link to a missing page or heading
# make package             wheel and sdist in dist/, checked; the wheel tried beside PyTorch and NumPy alone
# make package-onedl       the wheel tried beside the maintained forks: the demo, with few scenes; after make package
# make package-openmmlab   the same beside the stock packages
# make lint                ruff, mypy and import-linter
# PYTHON=python3.10        another interpreter for new environments (3.10 to 3.13; stock: up to 3.11; the newest PyTorch:
#                          from 3.11); make clean first

PYTHON ?= python3
ONEDL := .venv/onedl
OPENMMLAB := .venv/openmmlab
OLDEST := test-onedl-torch-2.8
NEWEST := test-onedl-torch-2.15
# two processes; a file stays in one, because its tests share what they have set up; in the order of tests/conftest.py
PYTEST_ARGS ?= --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo demo-classification results test test-suite test-gpu-kernels test-mmdet test-openmmlab test-matrix test-slurm docs \
  package package-onedl package-openmmlab lint format clean

demo: $(ONEDL)/.ready
	$(ONEDL)/bin/python tools/demo/segmentation.py $(DEMO_ARGS)

demo-classification: $(ONEDL)/.ready
	$(ONEDL)/bin/python tools/demo/classification.py $(DEMO_ARGS)

results: $(ONEDL)/.ready
	$(ONEDL)/bin/python docs/redraw.py

test: test-suite test-gpu-kernels test-mmdet

test-suite: $(ONEDL)/.ready
	$(ONEDL)/bin/python -m pytest $(PYTEST_ARGS)

test-gpu-kernels: $(ONEDL)/.ready
	TRITON_INTERPRET=1 $(ONEDL)/bin/python -m pytest $(PYTEST_ARGS) tests/gpu_kernels

# not in the environment itself: mmseg would import mmdet wherever it is imported
test-mmdet: $(ONEDL)/mmdet/.ready
	PYTHONPATH=$(CURDIR)/$(ONEDL)/mmdet $(ONEDL)/bin/python -m pytest $(PYTEST_ARGS) tests/detection

$(ONEDL)/mmdet/.ready: requirements/mmdet.txt $(ONEDL)/.ready
	rm -rf $(@D)
	$(ONEDL)/bin/python -m pip install --quiet --no-deps --no-build-isolation --require-hashes --target $(@D) -r requirements/mmdet.txt
	touch $@

test-openmmlab: $(OPENMMLAB)/.ready
	$(OPENMMLAB)/bin/python -m pytest $(PYTEST_ARGS)

# the forks on another PyTorch: requirements/torch-VERSION.txt
test-onedl-torch-%: .venv/onedl-torch-%/.ready
	.venv/onedl-torch-$*/bin/python -m pytest $(PYTEST_ARGS)

.PRECIOUS: .venv/onedl-torch-%/.ready

test-matrix: test test-openmmlab $(NEWEST) $(OLDEST)

test-slurm: $(ONEDL)/.ready
	$(ONEDL)/bin/python -m pytest -m slurm tests/slurm

# the folder comes first on the path: MyST takes an older markdown-it-py than the environment has; notebooks find their
# kernel in JUPYTER_PATH and call the command `mmrecall`
docs: $(ONEDL)/docs/.ready
	rm -rf build/site
	PYTHONPATH=$(CURDIR)/$(ONEDL)/docs JUPYTER_PATH=$(CURDIR)/$(ONEDL)/docs/share/jupyter PATH="$(CURDIR)/$(ONEDL)/bin:$$PATH" \
	  $(ONEDL)/bin/python -m sphinx --quiet --fail-on-warning --keep-going -c docs . build/site
	@echo "build/site/index.html"

$(ONEDL)/docs/.ready: requirements/docs.txt $(ONEDL)/.ready
	rm -rf $(@D)
	$(ONEDL)/bin/python -m pip install --quiet --no-deps --require-hashes --target $(@D) -r requirements/docs.txt
	touch $@

# The wheel is built from the sdist. Project links and an address of the authors do not exist yet.
package: .venv/package/.ready $(ONEDL)/.ready
	rm -rf dist
	.venv/package/bin/python -m build --no-isolation .
	.venv/package/bin/check-wheel-contents dist/*.whl
	.venv/package/bin/twine check --strict dist/*
	.venv/package/bin/pyroma --min=10 --skip-tests Url,AuthorEmail dist/*.tar.gz
	$(ONEDL)/bin/python tests/fresh_environment.py dist/*.whl tests/try_with_torch_alone.py torch numpy

package-onedl: $(ONEDL)/.ready
	$(ONEDL)/bin/python tests/fresh_environment.py dist/*.whl tests/try_with_toolboxes.py

package-openmmlab: $(OPENMMLAB)/.ready
	$(OPENMMLAB)/bin/python tests/fresh_environment.py dist/*.whl tests/try_with_toolboxes.py

.venv/package/.ready: requirements/build.txt requirements/package.txt
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/build.txt -r requirements/package.txt
	touch $@

lint: $(ONEDL)/.ready
	$(ONEDL)/bin/ruff check .
	$(ONEDL)/bin/ruff format --check .
	$(ONEDL)/bin/mypy
	$(ONEDL)/bin/lint-imports

format: $(ONEDL)/.ready
	$(ONEDL)/bin/ruff check --fix .
	$(ONEDL)/bin/ruff format .

clean:
	rm -rf .venv

# 3.10, and 3.11 for the newest PyTorch
MINOR := 10
.venv/$(NEWEST:test-%=%)/.ready: MINOR := 11

# the stamp comes last: an interrupted installation starts again
define install_onedl
	@$(PYTHON) -c 'import sys; (3, $(MINOR)) <= sys.version_info[:2] <= (3, 13) or sys.exit("Python %d.%d: this needs 3.$(MINOR) to 3.13; call make with PYTHON=python3.11" % sys.version_info[:2])'
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --no-deps --require-hashes $(foreach file,$(filter %.txt,$^),-r $(file))
	$(@D)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
endef

$(ONEDL)/.ready: requirements/build.txt requirements/onedl-packages.txt requirements/torch-2.12.txt requirements/demo.txt requirements/report.txt requirements/test.txt requirements/lint.txt pyproject.toml
	$(install_onedl)

.venv/onedl-torch-%/.ready: requirements/build.txt requirements/onedl-packages.txt requirements/torch-%.txt requirements/demo.txt requirements/report.txt requirements/test.txt pyproject.toml
	$(install_onedl)

$(OPENMMLAB)/.ready: requirements/build.txt requirements/openmmlab.txt requirements/mmcv.txt requirements/demo.txt requirements/report.txt requirements/test.txt pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info[:2] <= (3, 11) or sys.exit("Python %d.%d: the stock packages need 3.10 or 3.11; call make with PYTHON=python3.11" % sys.version_info[:2])'
	rm -rf $(OPENMMLAB)
	$(PYTHON) -m venv $(OPENMMLAB)
	$(OPENMMLAB)/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/build.txt -r requirements/openmmlab.txt -r requirements/demo.txt -r requirements/report.txt -r requirements/test.txt
	@echo "mmcv is compiled now unless pip has it cached: about 8 minutes on two cores"
	MMCV_WITH_OPS=1 FORCE_CUDA=0 $(OPENMMLAB)/bin/python -m pip install --quiet --no-deps --no-build-isolation --require-hashes -r requirements/mmcv.txt
	$(OPENMMLAB)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
