# Every target makes .venv and installs what it needs; nothing but Python 3.11 or later has to be there.
PYTHON ?= python3
BIN := .venv/bin
# Test files are shared out over a few processes: most of their time is compilation, on one core.
SHARED := -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo study longform longform-full test browser fuzz parity verify torture bench tpu-compile docs lint clean

demo: .venv/.installed
	$(BIN)/slick demo --config=configs/demo.py

# Every mixture with three seeds, about 45 minutes on 2 cores; stop it at any time and go on with the same command.
study: .venv/.installed
	$(BIN)/slick demo --config=configs/demo_study.py

# Which long texts to fine-tune on: every arm in three domains with one seed, under 40 minutes on 2 cores.
longform: .venv/.installed
	$(BIN)/slick longform --config=configs/longform.py

# The same with three seeds everywhere; it goes on from what `make longform` has done.
longform-full: .venv/.installed
	$(BIN)/slick longform --config=configs/longform.py --config.longform.seeds=0,1,2 --config.longform.more_seeds=

test: lint
	$(BIN)/python -m pytest -q -m "not verify and not torture and not browser" $(SHARED)

# The reports in the distribution's Chromium, opened from disk; installs it where it is missing and this may.
browser: .venv/.browser
	tests/browser/chromium.sh
	$(BIN)/python -m pytest -q -m browser tests/browser -n 2 --dist loadfile

# More than 20,000 odd inputs to the readers (SECURITY.md), drawn anew each time; a few minutes on 2 cores.
fuzz: .venv/.tested
	SLICK_FUZZ_INPUTS=$${SLICK_FUZZ_INPUTS:-1700} $(BIN)/python -m pytest -q tests/fuzz -n auto --maxprocesses 4

# The same model code against transformers.
parity: .venv/.parity
	$(BIN)/python -m pytest -q tests/parity $(SHARED)

# The long exactness checks that docs/exactness.md reports.
verify: .venv/.tested
	$(BIN)/python -m pytest -q -m verify -s

# Kills at random moments, signals, full disks, damaged files: figures in docs/reliability.md; under 30 minutes on 2 cores.
torture: .venv/.tested
	rm -rf runs/torture && mkdir -p runs/torture
	TORTURE_LEDGER=runs/torture/kills.jsonl $(BIN)/python -m pytest -q -m torture tests/torture -n 2
	$(BIN)/python -m tests.torture.ledger runs/torture/kills.jsonl docs/reliability.md

# Speeds against peers, about 20 minutes on 2 cores; tables in runs/bench.
bench: .venv/.bench
	test -e runs/demo/annotations.parquet || $(MAKE) demo
	$(BIN)/python benchmarks/annotate_vs_transformers.py
	$(BIN)/python benchmarks/annotate_vs_plain.py
	$(BIN)/python benchmarks/label_agreement.py
	$(BIN)/python benchmarks/train_vs_transformers.py
	$(BIN)/python benchmarks/load_weights.py
	$(BIN)/python benchmarks/training_memory.py

# Compiles annotate programs and the training step for TPU topologies, and writes docs/performance.md; no TPU is needed.
tpu-compile: .venv/.tpu
	$(BIN)/python benchmarks/tpu_compile.py --write

# The pages of docs/ as a site, build/site/index.html; a broken link or anchor ends it.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: .venv/.tested
	$(BIN)/ruff check .

clean:
	rm -rf .venv

.venv/.made:
	$(PYTHON) -m venv .venv
	touch $@

.venv/.installed: .venv/.made setup.py constraints.txt
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

.venv/.tested: .venv/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test]'
	touch $@

.venv/.browser: .venv/.tested
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test,browser]'
	touch $@

# torch is installed first and by itself, at the exact version that the parity tests pin.
.venv/.parity: .venv/.tested
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[test,parity]'
	touch $@

# One engine that does not install (llama-cpp-python is compiled) costs its own rows alone.
.venv/.bench: .venv/.parity
	-$(BIN)/python -m pip install -q -c constraints.txt openvino-genai gguf
	-$(BIN)/python -m pip install -q -c constraints.txt llama-cpp-python
	touch $@

.venv/.docs: .venv/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	touch $@

.venv/.tpu: .venv/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[tpu]'
	touch $@
