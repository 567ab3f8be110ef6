"""The figures as one table for the terminal and as docs/benchmarks.md."""

import statistics


def ratio(s):
    return f"{s['median']:.2f} ({s['low']:.2f}-{s['high']:.2f})"


def amount(s, unit):
    digits = 0 if s["median"] >= 1000 else 1 if s["median"] >= 10 else 2
    return f"{s['median']:.{digits}f} {unit}"


def head(name, peers):
    return [name, "piano", *[cell for p in peers for cell in (p, "ratio (range)")]]


def threads_of(e):
    return f"{e['case']}, {e['threads']} thread{'s' if e['threads'] > 1 else ''}"


def timing_rows(entries, label):
    peers = list(entries[0]["ratios"])
    rows = [head(label, peers)]
    for e in entries:
        cells = [cell for p in peers for cell in (amount(e["times"][p], e["unit"]), ratio(e["ratios"][p]))]
        rows.append([threads_of(e), amount(e["times"]["piano"], e["unit"]), *cells])
    return rows


def means(entries):
    """The geometric mean over the cases of one width and one number of threads, and the best peer of each case."""
    rows = [["geometric mean of the ratios", *entries[0]["ratios"], "best peer of each case"]]
    for d in sorted({e["case"].rsplit("-d", 1)[1] for e in entries}, key=int):
        for threads in sorted({e["threads"] for e in entries}, reverse=True):
            some = [e for e in entries if e["case"].endswith("-d" + d) and e["threads"] == threads]
            mean = lambda f: f"{statistics.geometric_mean([f(e) for e in some]):.2f}"
            rows.append([f"training, d = {d}, {threads} thread{'s' if threads > 1 else ''}",
                         *[mean(lambda e, p=p: e["ratios"][p]["median"]) for p in some[0]["ratios"]],
                         mean(lambda e: min(r["median"] for r in e["ratios"].values()))])
    return rows


def best_threads(out):
    """Each at its best number of threads, from the medians: not a ratio within a round."""
    runs = [e for e in out["inference"] if e["case"] == out["best_threads"][0]["case"]] + out["best_threads"]
    least = {p: min((e["times"][p]["median"], e["threads"] if p != "piano" else e["our_threads"]) for e in runs) for p in runs[0]["times"]}
    ours = least.pop("piano")
    rows = [["best number of threads each, " + runs[0]["case"], "time", "threads", "ratio"], ["piano", f"{ours[0]:.1f} us", str(ours[1]), ""]]
    return rows + [[p, f"{t:.1f} us", str(n), f"{t / ours[0]:.2f}"] for p, (t, n) in least.items()]


def process_rows(out):
    peers = {}
    for entry in (out["throughput"], out["start"], *out["memory"]):
        peers |= dict.fromkeys(entry["ratios"])
    rows = [head("process", peers)]

    def row(name, ours, theirs, ratios):
        rows.append([name, ours, *[cell for p in peers for cell in ((theirs[p], ratios[p]) if p in ratios else ("", ""))]])

    rates = out["throughput"]["lists_per_second"]
    row(f"lists a second, all CPUs, {out['throughput']['case']}", amount(rates["piano"], ""), {p: amount(r, "") for p, r in rates.items()},
        {p: ratio(r) for p, r in out["throughput"]["ratios"].items()})
    times = out["start"]["ms"]
    row("start to first answer", amount(times["piano"], "ms"), {p: amount(t, "ms") for p, t in times.items()},
        {p: ratio(r) for p, r in out["start"]["ratios"].items()})
    for m in out["memory"]:
        mb = {p: f"{b / 1e6:.0f} MB" for p, b in m["peak"].items()}
        row(f"peak memory, {m['line'].split()[0]} {m['line'].split()[1]} (ratio: ours / theirs)", mb["piano"], mb, {p: f"{r:.2f}" for p, r in m["ratios"].items()})
    return rows


def machine_rows(out):
    rows = [["our share of the multiply-add peak, training", "GFLOP/s of the peak", "share (range)"]]
    for e in out["training"]:
        s = e["share_of_peak"]
        rows.append([threads_of(e), amount(e["fma_gflops"], ""), f"{100 * s['median']:.0f} % ({100 * s['low']:.0f}-{100 * s['high']:.0f})"])
    return rows


def tail_rows(out):
    return [["our slowest answers", "p99 / p50 (range)"]] + [[threads_of(e), ratio(e["p99_over_p50"])] for e in out["inference"]]


def gap_rows(out):
    """Greatest differences from ours over all cases."""
    worst = {}
    for e in out["training"] + out["inference"] + out["best_threads"]:
        for peer, gaps in e["gaps"].items():
            for what, gap in gaps.items():
                key = (peer, "training" if e in out["training"] else "inference")
                worst.setdefault(key, {})[what] = max(gap, worst.get(key, {}).get(what, 0))
    text = lambda gaps, what: f"{gaps[what]:.1e}" if what in gaps else ""
    return [["greatest difference from ours, by the norm", "logits", "loss", "gradients"]] + [
        [f"{peer}, {kind}", *(text(gaps, w) for w in ("logits", "loss", "gradients"))] for (peer, kind), gaps in worst.items()]


def tables(out):
    some = [timing_rows(out["training"], "training, a step"), means(out["training"]), machine_rows(out), timing_rows(out["inference"], "inference, one request"),
            tail_rows(out)]
    if out["best_threads"]:
        some.append(best_threads(out))
    return [*some, process_rows(out), gap_rows(out)]


def table(out):
    lines = []
    for rows in tables(out):
        widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
        lines += ["  ".join(cell.ljust(w) for cell, w in zip(r, widths)).rstrip() for r in rows] + [""]
    return "\n".join(lines)


def markdown_table(rows):
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join([line(rows[0]), "|" + " --- |" * len(rows[0]), *map(line, rows[1:])])


def growth_rows(growth):
    laws = growth if isinstance(growth, list) else growth["laws"]
    return [["growth", "ratio (range)", "limit", ""]] + [
        [l["law"], ratio(l), f"at most {l['at_most']:.2f}" if "at_most" in l else f"at least {l['at_least']:.2f}", "ok" if l["ok"] else "over"] for l in laws]


def settings_rows(out):
    rows = [["peer", "settings", "tried, share of the time of the best so far (kept: *)"]]
    for which, text in out["settings"].items():
        tried = ", ".join(f"{t['change']} {t['ratio']:.2f}{'*' if t['kept'] else ''}" if t["ratio"] else f"{t['change']} impossible" for t in out["trials"].get(which, []))
        rows.append([which, text or "as they come", tried])
    return rows


def markdown(out):
    v = out["versions"]
    parts = [f"""# Benchmarks

{v['date']}, {v['cpu']}, {v['cpus']} CPUs. PyTorch {v['torch']}, ONNX Runtime {v['onnxruntime']} (exported with onnx {v['onnx']}), Python {v['python']}, NumPy {v['numpy']}.
Written by `{out['command']}`; `make bench` does the same. Not edited by hand.

How to read it: everything was timed in one run, in turn (A B A B ...), {out['rounds']} rounds; a ratio is their time over ours within one round,
its median and range over the rounds: 2.00 is twice as fast. The machine may be shared; absolute times are worth little, ratios more.
A peer loads our own parameters and must give our logits, loss and every gradient to 1e-4 by the norm before it is timed, in the process and
with the code that is then timed. It gets what a data loader could have prepared (index tables, masks, tensors) for nothing and repeats
one batch; our training step reads its lists from the data set, and takes eight batches in turn; our answer starts from the request. All
processes are bound to the same CPUs. Dropout is off.
"""]
    parts += [markdown_table(rows) + "\n" for rows in tables(out)]
    if "growth" in out:
        parts.append(markdown_table(growth_rows(out["growth"])) + "\n")
    parts.append("## The peers' settings\n\nSearched on one training case and one inference case, one change at a time.\n\n" + markdown_table(settings_rows(out)) + "\n")
    return "\n".join(parts)
