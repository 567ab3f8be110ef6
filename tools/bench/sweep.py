"""Finds a peer's own fastest settings: one change at a time, timed in turn with the best so far, kept when it is faster.

A worker compares its results with ours whatever its settings, so a fast setting that computes something else ends the run.
"""

import statistics
import sys

from rounds import middle
from workers import PeerError, Setting, cpus

# A candidate is (part, key, value); value None: not set.
ALLOCATORS = [("env", "LD_PRELOAD", "libtcmalloc_minimal.so.4"), ("env", "LD_PRELOAD", "libjemalloc.so.2"), ("env", "THP_MEM_ALLOC_ENABLE", "1")]
THREADS = [("env", "OMP_PROC_BIND", "close"), ("env", "OMP_WAIT_POLICY", "active")]
LAYOUT = [("ways", "attention", "math"), ("ways", "layout", "padded"), ("ways", "match", "matrix"), ("ways", "bags", "padded")]
INFER = [("ways", "attention", "math"), ("ways", "match", "matrix")]
INDUCTOR = [("inductor", "cpp_wrapper", True), ("inductor", "max_autotune", True)]
ONEDNN = ("ways", "products", "onednn")
# which -> mode, ways and inductor's options to begin with, candidates, whose environment (already found) to begin with
SEARCHES = {
    "train eager": ("eager", {}, {}, [("ways", "rows", "dense"), ("ways", "rows", "sparse"), *LAYOUT, ONEDNN, *ALLOCATORS, *THREADS], None),
    "train compile": ("compile", {}, {}, [*LAYOUT, *INDUCTOR], "train eager"),
    "infer eager": ("eager", {}, {}, [*INFER, ONEDNN, *ALLOCATORS], None),
    "infer compile": ("compile", {}, {"freezing": True}, [*INFER, *INDUCTOR], "infer eager"),
    "infer onnx": ("onnx", {"attention": "math"}, {}, [("ways", "attention", "mha"), ("ways", "attention", "op"), *ALLOCATORS[:2]], None),
}
ROUNDS, WORTH = 3, 0.98  # a change is kept when it takes less than this share of the time


def search(which, environment, folder, case, threads, limit, log=sys.stderr):
    """The best setting, and every trial: [{change, ratio to the best before, kept}]."""
    mode, ways, inductor, candidates, _ = SEARCHES[which]
    kind, trials, bound = which.split()[0], [], cpus(threads)
    line = f"{kind} {case} {threads} {4 if kind == 'train' else 200}"
    best = Setting(mode, ways, inductor, environment)
    best.prepare(folder, case)
    running = best.start(folder, bound)
    try:
        running.ask(line)
        for part, key, value in candidates:
            trial = best.changed(**{part: {key: value}})
            if kind == "train" and trial.ways.get("match") == "matrix" and trial.ways.get("layout") != "padded":
                continue  # a matrix needs lists of one length
            result = {"change": f"{key}={value}", "ratio": None, "kept": False}
            trials.append(result)
            worker = None
            try:
                trial.prepare(folder, case)
                worker = trial.start(folder, bound)
                worker.ask(line, limit)
                ratio = statistics.median(middle(worker.ask(line)) / middle(running.ask(line)) for _ in range(ROUNDS))
                result |= {"ratio": ratio, "kept": ratio < WORTH}
                said = f"{ratio:.2f} of the time{', kept' if ratio < WORTH else ''}"
            except PeerError as e:
                said = result["failed"] = str(e)[:200]
            print(f"  {which}: {key}={value}: {said}", file=log, flush=True)
            if result["kept"]:
                best, running, worker = trial, worker, running
            if worker:
                worker.close()
    finally:
        running.close()
    return best, trials
