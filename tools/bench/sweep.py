"""Finds a peer's own fastest settings: one change at a time, timed in turn with the best so far, kept when it is faster.

A worker compares its results with ours whatever its settings, so a fast setting that computes something else ends the run.
"""

import statistics
import sys

from workers import PeerError, Setting, cpus

# A candidate is (part, key, value); value None: not set.
ALLOCATORS = [("env", "LD_PRELOAD", v) for v in ("libtcmalloc_minimal.so.4", "libjemalloc.so.2")]
THREADS = [("env", "OMP_PROC_BIND", "close"), ("env", "OMP_WAIT_POLICY", "active"), ("env", "THP_MEM_ALLOC_ENABLE", "1")]
TRAIN = [("ways", "rows", "dense"), ("ways", "rows", "sparse"), ("ways", "bags", "padded"), ("ways", "attention", "math"),
         ("ways", "layout", "padded"), ("ways", "match", "matrix")]
SEARCHES = {
    "train eager": ("eager", {}, {}, TRAIN + ALLOCATORS + THREADS),
    "train compile": ("compile", {}, {}, [c for c in TRAIN if c[2] not in ("dense", "sparse")] + ALLOCATORS + THREADS +
                      [("inductor", "max_autotune", True), ("inductor", "cpp_wrapper", True)]),
    "infer eager": ("eager", {}, {}, [("ways", "attention", "math"), ("ways", "match", "matrix")] + ALLOCATORS + THREADS),
    "infer compile": ("compile", {}, {"freezing": True}, [("ways", "attention", "math"), ("ways", "match", "matrix")] + ALLOCATORS + THREADS +
                      [("inductor", "freezing", None), ("inductor", "max_autotune", True), ("inductor", "cpp_wrapper", True)]),
    "infer onnx": ("onnx", {"attention": "math"}, {}, [("ways", "attention", "mha"), ("ways", "attention", "op")] + ALLOCATORS),
}
ROUNDS, WORTH = 3, 0.98  # a change is kept when it takes less than this share of the time


def amount(kind):
    return 4 if kind == "train" else 200


def middle(answer):
    return statistics.median(answer["ms" if "ms" in answer else "us"])


def search(which, folder, case, threads, log):
    """The best setting, and every trial: [{setting, ratio to the best before, kept}]."""
    mode, ways, inductor, candidates = SEARCHES[which]
    best, trials = Setting(mode, ways, inductor), []
    bound, line = cpus(threads), f"{which.split()[0]} {case} {threads} {amount(which.split()[0])}"
    for part, key, value in candidates:
        trial = best.changed(**{part: {key: value}})
        if trial.ways.get("match") == "matrix" and which.startswith("train") and trial.ways.get("layout") != "padded":
            continue  # a matrix needs lists of one length
        try:
            trial.prepare(folder, case), best.prepare(folder, case)
            with best.start(folder, bound) as a, trial.start(folder, bound) as b:
                pairs = [(middle(a.ask(line)), middle(b.ask(line))) for _ in range(1 + ROUNDS)][1:]
            ratio = statistics.median(y / x for x, y in pairs)
        except PeerError as e:
            print(f"  {which}: {key}={value}: not possible: {e}"[:200], file=log, flush=True)
            trials.append({"change": f"{key}={value}", "ratio": None, "kept": False})
            continue
        kept = ratio < WORTH
        trials.append({"change": f"{key}={value}", "ratio": ratio, "kept": kept})
        print(f"  {which}: {key}={value}: {ratio:.2f} of the time{', kept' if kept else ''}", file=log, flush=True)
        best = trial if kept else best
    return best, trials


def search_all(folder, train_case, infer_case, train_threads, log=sys.stderr):
    out = {}
    for which in SEARCHES:
        train = which.startswith("train")
        out[which] = search(which, folder, train_case if train else infer_case, train_threads if train else 1, log)
    return out
