"""The project's goals as a table: must, goal, what was measured, its range over the rounds, met or not, and the command.

What this run does not measure names the command that does.
"""

import statistics

BENCH, OWN, LINEAR = "`bench.py`", "`piano bench`", "`piano bench --ops linear`"
TESTS = "the tests `a warmed-up training step allocates nothing` (tests/engine) and `serving: a warmed-up request does not allocate` (tests/piano)"
NOTES = "[benchmarks-notes.md](benchmarks-notes.md)"


def rounds_of(spread):
    return spread["rounds"]


def best_peer(entry, names=None):
    """The ratios of the peer that comes nearest to us."""
    some = [r for p, r in entry["ratios"].items() if names is None or p in names]
    return min(some, key=lambda r: r["median"]) if some else None


def geomean(entries):
    """Over cases, of the ratio to each case's best peer: (median, low, high) over the rounds."""
    ratios = [best_peer(e) for e in entries]
    per_round = [statistics.geometric_mean(some) for some in zip(*(rounds_of(r) for r in ratios))]
    return statistics.geometric_mean([r["median"] for r in ratios]), min(per_round), max(per_round)


def three(spread, scale=1.0):
    return tuple(scale * spread[k] for k in ("median", "low", "high"))


def worst(spreads, scale=1.0):
    return three(min(spreads, key=lambda s: s["median"]), scale)


def measured(m):
    """name -> (median, low, high) of what the run has."""
    out, training, inference = {}, list(m.get("training", {}).values()), m.get("inference", {})
    for d in ("64", "128"):
        cases = [e for e in training if e["case"].endswith("-d" + d)]
        if len(cases) == 3 and all(e["ratios"] for e in cases):
            out["training " + d] = geomean(cases)
    for n in (20, 100, 1000):
        if (e := inference.get(f"infer-{n}")) and (r := best_peer(e, ["ONNX Runtime"])):
            out[f"infer {n}"] = three(r)
    if (e := m.get("best_threads", {}).get("")) and "ONNX Runtime" in e["ratios"]:
        out["best threads"] = three(e["ratios"]["ONNX Runtime"])
    if inference:
        out["tail"] = three(max((e["p99_over_p50"] for e in inference.values()), key=lambda s: s["median"]))
    if own := m.get("own", {}).get(""):
        for threads in (1, 2):
            if steps := [t for t in own["training"] if t["threads"] == threads]:
                out[f"roofline {threads}"] = worst([t["percent_of_peak"] for t in steps])
        if steps := [t["speedup"] for t in own["training"] if t["threads"] > 1]:
            out["scaling"] = worst(steps)
        long = [e for e in own["inference"] if e["case"] == "infer-1000"]
        if long and "speedup_all_threads" in long[0]:
            out["scaling 1000"] = three(long[0]["speedup_all_threads"])
        out["prepare"] = three(own["prepare_mb_s"])
        out["start"] = three(max((e["start_ms"] for e in own["inference"]), key=lambda s: s["median"]))
    if linear := m.get("linear", {}).get(""):
        shapes = [o for o in linear["ops"] if " -> " in o["case"] and "gelu" not in o["case"] and not o["case"].endswith(" -> 1")]
        for what, part, share in (("forward", "", "forward"), ("dX", ", dX alone", "backward"), ("dW", ", dW alone", "backward")):
            values = [100 * o[share]["share"] for o in shapes if o["case"].endswith(part) and ("alone" in o["case"]) == bool(part)]
            if values:
                out["linear " + what] = (statistics.median(values), min(values), max(values))
    for part, e in m.get("memory", {}).items():
        if torch := {k: r for k, r in e["ratios"].items() if k.startswith("PyTorch")}:
            out["memory " + part] = (max(torch.values()),) * 3
    return out


# (row, must, goal, larger is better, unit, key of measured(), command)
ROWS = [
    ("training, against the faster of PyTorch eager and torch.compile, d = 64, geometric mean", 2.5, 5, True, "", "training 64", BENCH),
    ("the same, d = 128", 1.8, 3, True, "", "training 128", BENCH),
    ("training, share of the multiply-add peak, the worst case, 1 thread", 45, 60, True, "%", "roofline 1", OWN),
    ("the same, 2 threads", 40, 55, True, "%", "roofline 2", OWN),
    ("linear kernel, share of peak, forward: median (range) over the model's shapes", 90, 98, True, "%", "linear forward", LINEAR),
    ("the same, dX", 80, 90, True, "%", "linear dX", LINEAR),
    ("the same, dW", 80, 92, True, "%", "linear dW", LINEAR),
    ("inference p50 against ONNX Runtime, 1 thread each, N = 20", 3, 5, True, "", "infer 20", BENCH),
    ("the same, N = 100", 1.8, 2.5, True, "", "infer 100", BENCH),
    ("the same, N = 1,000", 2, 3, True, "", "infer 1000", BENCH),
    ("best number of threads each, N = 100", 2.5, 4, True, "", "best threads", BENCH),
    ("p99 / p50 of ours, the worst case", 2, 1.3, False, "", "tail", BENCH),
    ("1 to 2 threads: training, the worst case", 1.7, 1.95, True, "", "scaling", OWN),
    ("1 to 2 threads: one request of 1,000 candidates", 1.7, 1.95, True, "", "scaling 1000", OWN),
    ("start to first answer, ms", 30, 5, False, "", "start", OWN),
    ("peak memory, serving, against PyTorch", 0.25, 0.15, False, "", "memory serving", BENCH),
    ("peak memory, training, against PyTorch", 0.25, 0.15, False, "", "memory training", BENCH),
    ("heap allocations a step or a request, warmed up", 0, 0, False, "", None, TESTS),
    ("`prepare`, MB of JSON lines a CPU second", 200, 200, True, "", "prepare", OWN),
    ("determinism costs", 10, 3, False, "%", None, NOTES),
]


def number(value, unit):
    return f"{value:.0f} {unit}" if unit == "%" else f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def without(m):
    """Peers that some training case had to do without."""
    return sorted({p for e in m.get("training", {}).values() for p in e["failed"]})


def goal_rows(m):
    values = measured(m)
    rows = [["", "must", "goal", "measured", "over the rounds", "", "command"]]
    for name, must, goal, more, unit, key, command in ROWS:
        bound = lambda x: f"{'≥' if more else '≤'} {x:g} {unit}".strip()
        if key not in values:
            rows.append([name, bound(must), bound(goal), "see there" if key is None else "not measured", "", "", command])
            continue
        value, low, high = values[key]
        reaches = lambda x: value >= x if more else value <= x
        verdict = "goal" if reaches(goal) else "must" if reaches(must) else "**missed**"
        spread = f"{number(low, unit)} – {number(high, unit)}" if low != high else ""
        said = number(value, unit) + (f" (some cases without {', '.join(without(m))})" if key.startswith("training") and without(m) else "")
        rows.append([name, bound(must), bound(goal), said, spread, verdict, command])
    return rows
