#!/usr/bin/env python3
"""piano on a GPU against PyTorch (eager and torch.compile) on the same GPU, with the same weights, in one run.

    python3 tools/bench/gpu.py --piano build/gpu/piano --folder gpu_cases --markdown gpu.md --json gpu.json

Training: 256 and 4,096 lists of up to 50 candidates with 50 past events, d = 64 and 128. Inference: 20, 100 and 1,000 candidates, batches of
1, 16 and 256 lists. Peers come through peer.py (--device cuda), which compares logits, and for training the loss and every gradient, with ours before it
times anything; ours on the GPU is compared with ours on the CPU. A difference ends this with exit 1. All are timed in turn, --rounds times; what counts is the
ratio within a round. Then `piano bench --device cuda`: peaks and memory-bound ops. --try: the smallest cases, on the CPU unless --device cuda.
Rows are kept in --folder as they come. With --seconds no row is begun after so long: exit 75, and the same command goes on with the rest.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from record import write
from rounds import middle, ratios, spread
from workers import Mismatch, PeerError, Setting, Worker, cpus

TOLERANCE = 1e-4


class Unfinished(Exception):
    pass


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--piano", default="build/gpu/piano", help="the binary, built with CUDA (default: %(default)s)")
    p.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda, with --try cpu")
    p.add_argument("--peers", type=lambda t: t.split(","), default=["eager", "compile"], metavar="NAME,..", help="of eager and compile only these")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1e9, metavar="S", help="begin nothing after so long")
    p.add_argument("--limit", type=float, default=150, metavar="S", help="seconds that a peer may take to be ready (default: %(default)g)")
    p.add_argument("--folder", metavar="DIR", help="where the cases are or go, and stay (default: a temporary folder)")
    p.add_argument("--json", metavar="FILE")
    p.add_argument("--markdown", metavar="FILE")
    p.add_argument("--try", dest="small", action="store_true", help="see that it works: few lists, eager alone, 2 rounds, no peaks")
    a = p.parse_args()
    a.device = a.device or ("cpu" if a.small else "cuda")
    if a.small:
        a.peers, a.rounds = ["eager"], 2
    return a


def plan(a):
    """(case, lists at once, our worker's options)"""
    if a.small:
        return [("train-32x20-d64", 32, []), ("infer-20", 2, [])]
    return ([(f"train-256x50-d{d}", lists, ["--set", f"train.batch={lists}"]) for d in (64, 128) for lists in (256, 4096)]
            + [(f"infer-{n}", lists, []) for n in (20, 100, 1000) for lists in (1, 16, 256)])


def peer(a, folder, mode, case, lists):
    """A peer whose batch is `lists` lists: copies of the case's."""
    copies = lists // (int(case.split("-")[1].split("x")[0]) if case.startswith("train") else 1)
    ways = {"device": a.device, "copies": copies} | ({"rows": "dense"} if case.startswith("train") else {})
    return Setting(mode, ways).start(folder, cpus(os.cpu_count()))


def ask(label, worker, line, limit=None):
    try:
        return worker.ask(line, limit)
    except PeerError as e:
        raise PeerError(f"{label}: {e}") from None


def measure(a, folder, case, lists, options):
    """One row: milliseconds of each, and how many times faster than each peer we are."""
    train = case.startswith("train")
    threads = os.cpu_count()
    command = {"piano": f"train {case} {threads} 3" if train else f"forward {case} {lists} 5"}
    workers, failed = {"piano": Worker([a.piano, "bench", "--worker", folder, "--device", a.device, *options], cpus(threads))}, {}
    try:
        first = ask("piano", workers["piano"], command["piano"])
        if first.get("difference", 0) > TOLERANCE:
            raise Mismatch(f"{case}: our logits on the device differ from the CPU's by {first['difference']:.1e} of their norm")
        for mode in a.peers:
            command[mode] = f"{'train' if train else 'infer'} {case} {threads} {3 if train else 5}"
            try:
                workers[mode] = peer(a, folder, mode, case, lists)
                ask(mode, workers[mode], command[mode], a.limit)
            except PeerError as e:
                failed[mode] = str(e)
                if mode in workers:
                    workers.pop(mode).close()
        times = {label: [] for label in workers}
        for _ in range(a.rounds):
            for label, worker in workers.items():
                answer = ask(label, worker, command[label])
                times[label].append(middle(answer) * (1e-3 if "us" in answer else 1))
    finally:
        for worker in workers.values():
            worker.close()
    return {"case": case, "lists": lists, "ms": {k: spread(v) for k, v in times.items()},
            "faster": {k: ratios(v, times["piano"]) for k, v in times.items() if k != "piano"}, "failed": failed}


def markdown(rows, own, a):
    text = lambda s, digits: f"{s['median']:.{digits}f} ({s['low']:.{digits}f}-{s['high']:.{digits}f})"
    out = ["| case | lists | ms | lists/s |" + "".join(f" {m}, ms | faster than {m} |" for m in a.peers), "|---|" + "---:|" * (3 + 2 * len(a.peers))]
    for r in rows:
        ms = r["ms"]["piano"]
        cells = [r["case"], str(r["lists"]), text(ms, 2), f"{1e3 * r['lists'] / ms['median']:,.0f}"]
        for m in a.peers:
            cells += [text(r["ms"][m], 2), text(r["faster"][m], 2)] if m in r["faster"] else [r["failed"].get(m, "-").replace("|", "/"), "-"]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out) + ("\n\n```\n" + own.strip() + "\n```" if own else "") + "\n"


def run(a, folder):
    cases = sorted({case for case, *_ in plan(a)})
    if not os.path.exists(os.path.join(folder, "cases.json")):
        subprocess.run([a.piano, "bench", "--export", folder, *[w for c in cases for w in ("--case", c)]], check=True, stdout=sys.stderr)
    kept = os.path.join(folder, "gpu_rows.json")
    rows = json.load(open(kept)) if os.path.exists(kept) else {}
    begin = time.monotonic()
    todo = [(f"{case}, {lists} lists", lambda row=(case, lists, options): measure(a, folder, *row)) for case, lists, options in plan(a)]
    if not a.small:
        own = [a.piano, "bench", "--device", a.device, "--rounds", str(a.rounds)]
        todo.append(("own", lambda: subprocess.run(own, check=True, capture_output=True, text=True).stdout))
    for name, get in todo:
        if name in rows:
            continue
        if time.monotonic() - begin > a.seconds:
            raise Unfinished(f"{len(rows)} of {len(todo)} parts are measured: the same command goes on")
        print(name, file=sys.stderr, flush=True)
        rows[name] = get()
        write(kept, rows)
    os.remove(kept)  # complete: the next run begins anew
    own = rows.pop("own", "")
    return list(rows.values()), own


def main():
    a = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        try:
            rows, own = run(a, a.folder or temporary)
        except Unfinished as e:
            print(e, file=sys.stderr)
            return 75
        except (Mismatch, PeerError) as e:
            print(e, file=sys.stderr)
            return 1
    text = markdown(rows, own, a)
    print(text, end="")
    if a.markdown:
        with open(a.markdown + ".tmp", "w") as f:
            f.write(text)
        os.replace(a.markdown + ".tmp", a.markdown)
    if a.json:
        write(a.json, {"command": sys.argv, "rows": rows, "own": own})
    return 0


if __name__ == "__main__":
    sys.exit(main())
