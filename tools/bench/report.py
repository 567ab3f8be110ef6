"""The figures as tables for the terminal and as docs/benchmarks.md. What was not measured (yet) has no table, or a row that says so."""

from goals import geomean, goal_rows


def ratio(s):
    return f"{s['median']:.2f} ({s['low']:.2f}-{s['high']:.2f})"


def amount(s, unit):
    digits = 0 if s["median"] >= 1000 else 1 if s["median"] >= 10 else 2
    return f"{s['median']:.{digits}f} {unit}".rstrip()


def head(name, peers):
    return [name, "piano", *[cell for p in peers for cell in (p, "ratio (range)")]]


def peers_of(entries):
    return list(dict.fromkeys(p for e in entries for p in (*e["ratios"], *e.get("failed", {}))))


def threads_of(e):
    return f"{e['case']}, {e['threads']} thread{'s' if e['threads'] > 1 else ''}"


def timing_rows(entries, label):
    peers = peers_of(entries)
    rows = [head(label, peers)]
    for e in entries:
        of = lambda p: (amount(e["times"][p], e["unit"]), ratio(e["ratios"][p])) if p in e["ratios"] else (e["failed"].get(p, ""), "")
        rows.append([threads_of(e), amount(e["times"]["piano"], e["unit"]), *[cell for p in peers for cell in of(p)]])
    return rows


def mean_rows(entries):
    """The geometric mean over the cases of one width, and with the best peer of each case."""
    rows = [["geometric mean of the ratios to the best peer of each case", "ratio (range)"]]
    for d in sorted({e["case"].rsplit("-d", 1)[1] for e in entries}, key=int):
        some = [e for e in entries if e["case"].endswith("-d" + d) and e["ratios"]]
        if some:
            median, low, high = geomean(some)
            rows.append([f"training, d = {d}, {len(some)} case{'s' if len(some) > 1 else ''}", f"{median:.2f} ({low:.2f}-{high:.2f})"])
    return rows


def best_rows(best):
    rows = [["each at its better number of threads, " + best["case"], "time", "ratio (range)"]]
    for name, label in best["best"].items():
        rows.append([label, amount(best["times"][label], "us"), ratio(best["ratios"][name]) if name in best["ratios"] else ""])
    return rows + [[label, "", why] for label, why in best["failed"].items()]


def process_rows(m):
    single = lambda section: m.get(section, {}).get("")
    memory = list(m.get("memory", {}).values())
    throughput, start = single("throughput"), single("start")
    peers = peers_of([e for e in (throughput, start, *memory) if e])
    rows = [head("process", peers)]

    def row(name, e, values, ratios):
        of = lambda p: (values[p], ratios[p]) if p in ratios else (e.get("failed", {}).get(p, ""), "")
        rows.append([name, values["piano"], *[cell for p in peers for cell in of(p)]])

    if throughput:
        row(f"lists a second, all CPUs, {throughput['case']}", throughput, {p: amount(r, "") for p, r in throughput["lists_per_second"].items()},
            {p: ratio(r) for p, r in throughput["ratios"].items()})
    if start:
        row("start to first answer", start, {p: amount(t, "ms") for p, t in start["ms"].items()}, {p: ratio(r) for p, r in start["ratios"].items()})
    for e in memory:
        kind, case = e["line"].split()[:2]
        row(f"peak memory, {kind} {case} (ratio: ours / theirs)", e, {p: f"{b / 1e6:.0f} MB" for p, b in e["peak"].items()},
            {p: f"{r:.2f}" for p, r in e["ratios"].items()})
    return rows


def machine_rows(entries):
    rows = [["our share of the multiply-add peak, training", "GFLOP/s of the peak", "share (range)"]]
    for e in entries:
        s = e["share_of_peak"]
        rows.append([threads_of(e), amount(e["fma_gflops"], ""), f"{100 * s['median']:.0f} % ({100 * s['low']:.0f}-{100 * s['high']:.0f})"])
    return rows


def own_rows(own):
    percent = lambda s: f"{s['median']:.0f} % ({s['low']:.0f}-{s['high']:.0f})"
    rows = [["ours alone, `piano bench`", "time", "share of the multiply-add peak", "faster than 1 thread"]]
    for t in own["training"]:
        rows.append([threads_of(t), amount(t["ms"], "ms"), percent(t["percent_of_peak"]), ratio(t["speedup"]) if t["threads"] > 1 else ""])
    for e in own["inference"]:
        rows.append([f"{e['case']}, 1 thread", amount(e["p50_us"], "us"), percent(e["percent_of_peak"]), ""])
        rows.append([f"{e['case']}, {e['threads']} threads, one request", amount(e["p50_all_threads_us"], "us"), "", ratio(e["speedup_all_threads"])])
    return rows


def tail_rows(entries):
    return [["our slowest answers", "p99 / p50 (range)"]] + [[threads_of(e), ratio(e["p99_over_p50"])] for e in entries]


def gap_rows(m):
    """Greatest differences from ours over all cases."""
    worst = {}
    for section in ("training", "inference"):
        for e in m.get(section, {}).values():
            for peer, gaps in e["gaps"].items():
                for what, gap in gaps.items():
                    of = worst.setdefault((peer, section), {})
                    of[what] = max(gap, of.get(what, 0))
    text = lambda gaps, what: f"{gaps[what]:.1e}" if what in gaps else ""
    return [["greatest difference from ours, by the norm", "logits", "loss", "gradients"]] + [
        [f"{peer}, {kind}", *(text(gaps, w) for w in ("logits", "loss", "gradients"))] for (peer, kind), gaps in worst.items()]


def growth_rows(growth):
    laws = growth if isinstance(growth, list) else growth["laws"]
    return [["growth", "ratio (range)", "limit", ""]] + [
        [l["law"], ratio(l), f"at most {l['at_most']:.2f}" if "at_most" in l else f"at least {l['at_least']:.2f}", "ok" if l["ok"] else "**over**"] for l in laws]


def tables(out):
    m = out["measured"]
    training, inference = (list(m.get(k, {}).values()) for k in ("training", "inference"))
    single = lambda section: m.get(section, {}).get("")
    some = [goal_rows(m)]
    some += [timing_rows(training, "training, a step"), mean_rows(training), machine_rows(training)] if training else []
    some += [timing_rows(inference, "inference, one request"), tail_rows(inference)] if inference else []
    some += [best_rows(single("best_threads"))] if single("best_threads") else []
    some += [process_rows(m), gap_rows(m)]
    some += [own_rows(single("own"))] if single("own") else []
    some += [growth_rows(single("growth"))] if single("growth") else []
    return [rows for rows in some if len(rows) > 1]


def table(out):
    lines = []
    for rows in tables(out):
        widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
        lines += ["  ".join(cell.ljust(w) for cell, w in zip(r, widths)).rstrip() for r in rows] + [""]
    return "\n".join(lines)


def markdown_table(rows):
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join([line(rows[0]), "|" + " --- |" * len(rows[0]), *map(line, rows[1:])])


def settings_rows(identity):
    rows = [["peer", "settings", "tried, share of the time of the best so far (kept: *)"]]
    for which, setting in identity["settings"].items():
        text = " ".join([f"{k}={v}" for part in ("ways", "inductor", "env") for k, v in setting[part].items()])
        tried = ", ".join(f"{t['change']} {t['ratio']:.2f}{'*' if t['kept'] else ''}" if t["ratio"] else f"{t['change']}: {t.get('failed', 'impossible')}"
                          for t in identity["trials"].get(which, []))
        rows.append([which, text or "as they come", tried or "not searched: by hand"])
    return rows


def markdown(out):
    i, found = out["identity"], out["identity"]["settings_found"]
    v = i["versions"]
    ready = [s for e in out["measured"].get("training", {}).values() for p, s in e["ready_s"].items() if p == "PyTorch compile"]
    where = (f"Searched on {found['cpu']} with PyTorch {found['torch']} and ONNX Runtime {found['onnxruntime']}, on {found['training']} and {found['inference']}, "
             "one change at a time (`bench.py --search`)." if found else "Set by hand.")
    parts = [f"""# Benchmarks

{out['begun']} to {out['ended']}. {v['cpu']}, {v['cpus']} CPUs, {v['system']}. PyTorch {v['torch']}, ONNX Runtime {v['onnxruntime']} (exported with onnx
{v['onnx']}), Python {v['python']}, NumPy {v['numpy']}. Binary {i['binary']}. Written by `{out['command']}`. Not edited by hand; what limits us
where a goal is not met, and what was measured otherwise, is in [benchmarks-notes.md](benchmarks-notes.md).

How to read it: what a table compares was timed in one run, in turn (A B A B ...), {i['rounds']} rounds; a ratio is their time over ours within one
round, its median and range over the rounds: 2.00 is twice as fast. The machine may be shared; absolute times are worth little, ratios more.
A peer loads our own parameters and must give our logits, loss and every gradient to 1e-4 by the norm before it is timed, in the process and
with the code that is then timed. It gets what a data loader could have prepared (index tables, masks, tensors) for nothing and repeats
one batch; our training step reads its lists from the data set, and takes eight batches in turn; our answer starts from the request. All
processes are bound to the same CPUs. Dropout is off.{f" A compiled training step was ready after {min(ready):.0f} to {max(ready):.0f} s, not counted." if ready else ""}
"""]
    titles = {"": "## Goals\n\n"}
    parts += [titles.get(rows[0][0], "") + markdown_table(rows) + "\n" for rows in tables(out)]
    parts.append(f"## The peers' settings\n\n{where}\n\n" + markdown_table(settings_rows(i)) + "\n")
    return "\n".join(parts)
