#!/usr/bin/env python3
"""piano against PyTorch and ONNX Runtime, side by side in one run.

    python3 tools/bench/bench.py --piano build/release/piano --json bench.json --docs docs/benchmarks.md

The cases come from `piano bench --export`; a peer loads the same parameters and must give the same logits, loss and gradients before it is
timed, else this ends with exit 1. Then each peer's fastest settings are searched (--settings FILE: kept there, and taken from there), and
all are timed in turn. --selftest shows that the comparison can fail.
"""

import argparse
import datetime
import importlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile

PACKAGES = ("numpy", "torch", "onnx", "onnxscript", "onnxruntime")
HERE = os.path.dirname(os.path.abspath(__file__))


def require_packages():
    missing = [p for p in PACKAGES if importlib.util.find_spec(p) is None]
    if missing:
        sys.exit(f"missing Python packages: {', '.join(missing)}; pip install -r {os.path.relpath(os.path.join(HERE, 'requirements.txt'))}")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--piano", default="build/release/piano", help="the binary (default: %(default)s)")
    p.add_argument("--cases", metavar="DIR", help="where the cases are or go (default: a temporary folder)")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--quick", action="store_true", help="3 rounds, one case of each kind, default settings, nothing of ours alone")
    p.add_argument("--settings", metavar="FILE", help="the peers' settings: read when it is there, else searched and written")
    p.add_argument("--json", metavar="FILE")
    p.add_argument("--docs", metavar="FILE", help="the report in Markdown; with --from from earlier figures")
    p.add_argument("--from", dest="figures", metavar="FILE", help="measure nothing: figures of an earlier --json")
    p.add_argument("--selftest", action="store_true", help="changes one parameter and checks that the comparison says so and exits with 1")
    return p.parse_args()


def cases_of(folder):
    with open(os.path.join(folder, "cases.json")) as f:
        return json.load(f)


def export(a, folder):
    if os.path.exists(os.path.join(folder, "cases.json")):
        return
    quick = ["--case", "train-32x20-d64", "--case", "infer-100"] if a.quick or a.selftest else []
    subprocess.run([a.piano, "bench", "--export", folder, *quick], check=True, stdout=sys.stderr)


def say(text):
    print(text, file=sys.stderr, flush=True)


def settings_of(a, folder, train_case, infer_case, threads):
    """which -> Setting, and the trials of the search."""
    from sweep import SEARCHES, search_all
    from workers import Setting
    if a.settings and os.path.exists(a.settings):
        with open(a.settings) as f:
            kept = json.load(f)
        return {k: Setting(**v["setting"]) for k, v in kept.items()}, kept
    if a.quick:
        return {k: Setting(mode, ways, inductor) for k, (mode, ways, inductor, *_) in SEARCHES.items()}, {}
    say("searching the peers' fastest settings")
    found = search_all(folder, train_case, infer_case, threads)
    kept = {k: {"setting": s.to_json(), "trials": trials} for k, (s, trials) in found.items()}
    if a.settings:
        with open(a.settings, "w") as f:
            json.dump(kept, f, indent=1)
    return {k: s for k, (s, _) in found.items()}, kept


def of_kind(settings, kind):
    names = {"eager": "PyTorch eager", "compile": "PyTorch compile", "onnx": "ONNX Runtime"}
    return {names[k.split()[1]]: s for k, s in settings.items() if k.startswith(kind)}


def own_figures(a, mode):
    """What `piano bench` measures of itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "figures.json")
        subprocess.run([a.piano, "bench", *mode, "--json", path], check=True, stdout=subprocess.DEVNULL)
        with open(path) as f:
            return json.load(f)


def versions():
    out = {"python": platform.python_version()} | {p: importlib.import_module(p).__version__ for p in PACKAGES}
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "unknown")
    return out | {"cpu": cpu, "cpus": len(os.sched_getaffinity(0)), "date": datetime.date.today().isoformat()}


def measure(a, folder):
    import rounds as r
    cases = cases_of(folder)
    trains, infers = ([c["name"] for c in cases if c["kind"] == kind] for kind in ("train", "infer"))
    most = min(2, len(os.sched_getaffinity(0)))
    usual = lambda names, wanted: wanted if wanted in names else names[0]
    train_case, infer_case = usual(trains, "train-128x50-d64"), usual(infers, "infer-100")
    settings, trials = settings_of(a, folder, train_case, infer_case, most)
    rounds = 3 if a.quick else a.rounds
    training, inference = of_kind(settings, "train"), of_kind(settings, "infer")
    out = {"versions": versions(), "command": " ".join(["python3", os.path.relpath(__file__), *sys.argv[1:]]), "rounds": rounds,
           "settings": {k: s.text() for k, s in settings.items()}, "trials": {k: v["trials"] for k, v in trials.items()},
           "training": [], "inference": [], "best_threads": []}
    for threads in [most] if a.quick else sorted({1, most}, reverse=True):
        for case in trains:
            say(f"training {case}, {threads} threads")
            out["training"].append(r.compare(a.piano, folder, case, "train", threads, training, rounds))
    for case in infers:
        say(f"inference {case}")
        out["inference"].append(r.compare(a.piano, folder, case, "infer", 1, inference, rounds))
    if most > 1:
        say(f"inference {infer_case}, {most} threads")
        out["best_threads"].append(r.compare(a.piano, folder, infer_case, "infer", most, inference, rounds))
    say("throughput, start, memory")
    batched = {name: [s, s.changed(ways={"copies": 16})] for name, s in inference.items() if name != "PyTorch compile"}
    out["throughput"] = r.compare_throughput(a.piano, folder, infer_case, batched, 3, 1 if a.quick else 2)
    out["start"] = r.start_to_answer(a.piano, folder, infer_case, {k: s for k, s in inference.items() if k != "PyTorch compile"}, rounds)
    out["memory"] = [r.peak_memory(a.piano, folder, f"infer {infer_case} 1 20", inference, 1),
                     r.peak_memory(a.piano, folder, f"train {train_case} {most} 3", training, most)]
    if not a.quick:
        say("our own figures and growth")
        out["own"], out["growth"] = own_figures(a, []), own_figures(a, ["--growth"])
    return out


def main():
    a = arguments()
    from report import markdown, table
    if a.figures:
        with open(a.figures) as f:
            out = json.load(f)
    else:
        require_packages()
        from workers import Mismatch
        with tempfile.TemporaryDirectory() as temporary:
            folder = a.cases or temporary
            export(a, folder)
            if a.selftest:
                from selftest import selftest
                return selftest(folder)
            try:
                out = measure(a, folder)
            except Mismatch as e:
                say(str(e))
                return 1
    print(table(out))
    if a.json:
        with open(a.json, "w") as f:
            json.dump(out, f, indent=1)
    if a.docs:
        with open(a.docs, "w") as f:
            f.write(markdown(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
