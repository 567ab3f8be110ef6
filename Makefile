# A thin face on CMake. `make help` lists what there is.
JOBS   ?= $(shell nproc)
WERROR ?= OFF
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0
PYTHON ?= python3
MAKEFLAGS += --no-print-directory

# $(call build,preset[,targets])
build = cmake --preset $(1) -DPIANO_WERROR=$(WERROR) >/dev/null && cmake --build --preset $(1) --parallel $(JOBS) $(if $(2),--target $(2))

.PHONY: build cuda demo test bench bench-check asan tsan fuzz install clean help bootstrap

build: bootstrap                ## build/release/piano, the library and the tests (default)
	$(call build,release)

cuda: bootstrap                 ## build/cuda/piano with the CUDA backend, and test_gpu, its check on a GPU (needs nvcc; a GPU only to run it)
	$(call build,cuda,piano_cli test_gpu)

demo: bootstrap                 ## build the binary, then simulate, prepare, train, evaluate and re-rank
	$(call build,release,piano_cli)
	build/release/piano demo

test: build                     ## build, then the fast test suite
	ctest --preset release -j $(JOBS)

bench: bootstrap                ## measure training and re-ranking; beside PyTorch and ONNX Runtime where Python has them (BENCH=flags)
	$(call build,release,piano_cli)
	@if $(PYTHON) -c 'import numpy, torch, onnx, onnxscript, onnxruntime' 2>/dev/null; then \
	  $(PYTHON) tools/bench/bench.py --piano build/release/piano $(BENCH); \
	else \
	  echo "$(PYTHON) lacks packages of tools/bench/requirements.txt: our own figures alone, compared with nobody" >&2; \
	  build/release/piano bench $(BENCH); \
	fi

bench-check: bootstrap          ## instruction counts against tools/bench/baseline.json, +-3 % (needs valgrind; UPDATE=1 writes them)
	$(call build,release,piano_cli)
	tools/bench/check.sh build/release/piano $(if $(UPDATE),--update)

asan: bootstrap                 ## the tests under the address and undefined-behaviour sanitizers
	$(call build,asan)
	ctest --preset asan -j $(JOBS)

tsan: bootstrap                 ## the tests under the thread sanitizer (needs clang)
	$(call build,tsan)
	ctest --preset tsan -j $(JOBS)

fuzz: bootstrap                 ## fuzz each parser for FUZZ_SECONDS, from FUZZ_SEED on or at random (needs clang)
	$(call build,fuzz,fuzz_safetensors fuzz_jsonl fuzz_trivago fuzz_formats fuzz_npy)
	tests/fuzz/run.sh build/fuzz $(FUZZ_SECONDS) $(FUZZ_SEED)

install: build                  ## install the library and the binary to PREFIX
	cmake --install build/release --prefix $(PREFIX)

clean:                          ## remove build/
	rm -rf build

bootstrap:
	@tools/bootstrap.sh

help:                           ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20
	@echo "Variables: JOBS=$(JOBS) WERROR=$(WERROR) PREFIX=$(PREFIX) FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED) PYTHON=$(PYTHON)"
