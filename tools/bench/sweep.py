"""Finds a peer's own fastest settings: one change at a time, timed in turn with the best so far, kept when it is faster.

A worker compares its results with ours whatever its settings, so a fast setting that computes something else ends the run.
"""

import statistics
import sys

from workers import PeerError, Setting, cpus

# A candidate is (part, key, value); value None: not set.
ENVIRONMENT = [("env", "LD_PRELOAD", "libtcmalloc_minimal.so.4"), ("env", "LD_PRELOAD", "libjemalloc.so.2"), ("env", "THP_MEM_ALLOC_ENABLE", "1")]
THREADS = [("env", "OMP_PROC_BIND", "close"), ("env", "OMP_WAIT_POLICY", "active")]
LAYOUT = [("ways", "bags", "padded"), ("ways", "attention", "math"), ("ways", "layout", "padded"), ("ways", "match", "matrix")]
INDUCTOR = [("inductor", "max_autotune", True), ("inductor", "cpp_wrapper", True)]
ONEDNN = ("ways", "products", "onednn")
# which -> mode, ways and inductor's options to begin with, candidates, whose environment (already found) to begin with
SEARCHES = {
    "train eager": ("eager", {}, {}, [("ways", "rows", "dense"), ("ways", "rows", "sparse"), *LAYOUT, ONEDNN, *ENVIRONMENT, *THREADS], None),
    "train compile": ("compile", {}, {}, LAYOUT + INDUCTOR, "train eager"),
    "infer eager": ("eager", {}, {}, [("ways", "attention", "math"), ("ways", "match", "matrix"), ONEDNN, *ENVIRONMENT], None),
    "infer compile": ("compile", {}, {"freezing": True}, [("ways", "attention", "math"), ("ways", "match", "matrix"), *INDUCTOR], "infer eager"),
    "infer onnx": ("onnx", {"attention": "math"}, {}, [("ways", "attention", "mha"), ("ways", "attention", "op"), *ENVIRONMENT[:2]], None),
}
ROUNDS, WORTH = 3, 0.98  # a change is kept when it takes less than this share of the time


def amount(kind):
    return 4 if kind == "train" else 200


def middle(answer):
    return statistics.median(answer["ms" if "ms" in answer else "us"])


def search(which, best, candidates, folder, case, threads, log):
    """The best setting, and every trial: [{change, ratio to the best before, kept}]."""
    kind, trials, bound = which.split()[0], [], cpus(threads)
    line = f"{kind} {case} {threads} {amount(kind)}"
    for part, key, value in candidates:
        trial = best.changed(**{part: {key: value}})
        if kind == "train" and trial.ways.get("match") == "matrix" and trial.ways.get("layout") != "padded":
            continue  # a matrix needs lists of one length
        result = {"change": f"{key}={value}", "ratio": None, "kept": False}
        trials.append(result)
        try:
            best.prepare(folder, case), trial.prepare(folder, case)
            with best.start(folder, bound) as a, trial.start(folder, bound) as b:
                pairs = [(middle(a.ask(line)), middle(b.ask(line))) for _ in range(1 + ROUNDS)][1:]
        except PeerError as e:
            print(f"  {which}: {key}={value}: not possible: {e}"[:200], file=log, flush=True)
            continue
        ratio = statistics.median(y / x for x, y in pairs)
        result |= {"ratio": ratio, "kept": ratio < WORTH}
        print(f"  {which}: {key}={value}: {ratio:.2f} of the time{', kept' if ratio < WORTH else ''}", file=log, flush=True)
        best = trial if ratio < WORTH else best
    return best, trials


def search_all(folder, train_case, infer_case, train_threads, log=sys.stderr):
    out = {}
    for which, (mode, ways, inductor, candidates, whose) in SEARCHES.items():
        train = which.startswith("train")
        first = Setting(mode, ways, inductor, out[whose][0].env if whose else {})
        out[which] = search(which, first, candidates, folder, train_case if train else infer_case, train_threads if train else 1, log)
    return out
