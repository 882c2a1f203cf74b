# Thin aliases. Each makes the environment it needs from requirements.lock, once.

PYTHON ?= python3
BASE ?= main
MODEL ?= models/tflite
export ADDRESS BASE EXP INSTEAD_OF MODEL NAME PHOTOS PIPELINE UPGRADE VERSION WEIGHTS YUNET
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export TF_CPP_MIN_LOG_LEVEL ?= 3
MAKEFLAGS += --no-print-directory
ENVIRONMENT := .venv/requirements.lock
# Columns left out for the width of a terminal: hashes of files, and what parameters or other scores show.
NOT_COMPARED := Created|Executor|faces|groups|rejects|leaks|balanced_accuracy|calibration_error|corruption_accuracy|.*/.*|params.yaml

.DEFAULT_GOAL := help
.PHONY: help repro detect keras preset pose verify test slow compare ui diff live promote study pretrain bench lock audit release page

help: ## List the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

repro: $(ENVIRONMENT) ## Run the stages that are out of date
	@python -m stages
	dvc repro
	@dvc metrics diff --all --targets metrics/test.json metrics/export.json metrics/data.json
	@python -m facemask.experiments.machine lock=dvc.lock record=metrics/machine.json

detect: $(ENVIRONMENT) ## Run the stages of the detection pipeline that are out of date
	@python -m stages.detection
	dvc repro detection/dvc.yaml
	@dvc metrics diff --all --targets detection/metrics/test.json detection/metrics/export.json
	@python -m facemask.experiments.machine lock=detection/dvc.lock record=detection/metrics/machine.json

keras: $(ENVIRONMENT) ## Put the classifier together as one Keras model, models/classifier.keras
	@python -m facemask.experiments.keras_model backbone=models/backbone weights=models/trained.npz \
		labels=models/labels.txt model=models/classifier.keras

page: $(ENVIRONMENT) ## Put a page that runs the model in the browser into page/: make page [MODEL=FOLDER or FILE]
	@python -m facemask.inference.page model="$$MODEL" page=page

compare: $(ENVIRONMENT) ## Compare the experiments on this commit: parameters and metrics that differ
	@dvc exp show --no-pager --only-changed --hide-workspace --keep accuracy --drop '($(NOT_COMPARED))$$'

preset: $(ENVIRONMENT) ## Write presets/NAME.yaml into params.yaml: make preset NAME=archive
	$(if $(NAME),,$(error name one of $(patsubst presets/%.yaml,%,$(wildcard presets/*.yaml)): make preset NAME=archive))
	@python -m facemask.experiments.preset name="$$NAME"

pose: $(ENVIRONMENT) ## Add the pose of every face to attributes.csv, whose slices evaluate scores
	@python -m facemask.experiments.pose raw=data/raw manifest=data/manifest.csv attributes=attributes.csv $${YUNET:+yunet="$$YUNET"}

verify: $(ENVIRONMENT) ## Reproduce the first pipeline in a clone, and compare it with dvc.lock
	@python -m facemask.experiments.verify

test: $(ENVIRONMENT) ## Run the tests, the linter and the type checker
	ruff check
	ruff format --check
	mypy
	python -m pytest --numprocesses 3

slow: $(ENVIRONMENT) ## Run the tests that take minutes
	python -m pytest -m slow

ui: $(ENVIRONMENT) ## Open MLflow on the runs recorded in this folder
	@python -m facemask.experiments.view
	mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000

live: $(ENVIRONMENT) ## Log the epochs to MLflow while a training runs: make live [PIPELINE=detection]
	@python -m facemask.experiments.live history="$${PIPELINE:-.}/metrics/history.csv" parameters="$${PIPELINE:-.}/params.yaml"

diff: $(ENVIRONMENT) ## Show, as Markdown, what differs from BASE (main); fails if the model is worse
	@python -m facemask.experiments.diff branch="$$BASE"

promote: $(ENVIRONMENT) ## Make an experiment's model MLflow's champion: make promote EXP=NAME; VERSION=v1.0.0 tags it
	$(if $(EXP),,$(error name an experiment, as dvc exp show does: make promote EXP=NAME))
	@python -m facemask.experiments.promote revision="$$EXP" $${INSTEAD_OF:+instead_of="$$INSTEAD_OF"} \
		$${VERSION:+version="$$VERSION"}

release: $(ENVIRONMENT) ## Make a release of the champion, for upload: make release VERSION=v1.0.0 ADDRESS=URL
	$(if $(and $(VERSION),$(ADDRESS)),,$(error name a version and where its file will be: make release VERSION=v1.0.0 ADDRESS=URL))
	@python -m facemask.experiments.release version="$$VERSION" address="$$ADDRESS" \
		folder=releases description=facemask/inference/release.toml

study: $(ENVIRONMENT) ## Run the missing experiments of study.yaml, and write docs/study.md
	@python -m facemask.experiments.study experiments=study.yaml page=docs/study.md picture=docs/study.png

pretrain: $(ENVIRONMENT) ## Train the demo's pretrained weights again; they are in Git
	python -m facemask.experiments.pretrain weights=facemask/networks/synthetic.weights.h5 record=facemask/networks/synthetic.json

bench: $(ENVIRONMENT) ## Compare the speed of pipeline and baseline: make bench PHOTOS=photos.zip WEIGHTS=FILE
	python -m benchmarks.speed "$$PHOTOS" "$$WEIGHTS"

lock: .venv/uv/bin/uv ## Resolve requirements.lock from pyproject.toml; UPGRADE=1 takes the newest versions
	.venv/uv/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --no-emit-index-url --no-annotate --no-header $${UPGRADE:+--upgrade} --output-file requirements.lock

audit: .venv/pip-audit/bin/pip-audit ## Look up known vulnerabilities of the locked packages, with PyPI's advisory service
	.venv/pip-audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements.lock

$(ENVIRONMENT): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one: make PYTHON=python3.12")'
	@echo 'Making .venv from requirements.lock' >&2
	@$(PYTHON) -m venv --clear .venv
	@python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@python -m facemask.experiments.plots_page
	@cp requirements.lock $@

.venv/uv/bin/uv .venv/pip-audit/bin/pip-audit: $(ENVIRONMENT)
	python -m venv --clear $(@D)/..
	$(@D)/pip install --quiet $(@F)
