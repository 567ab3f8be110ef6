#!/usr/bin/env python3
"""piano against PyTorch and ONNX Runtime, side by side in one run.

    python3 tools/bench/bench.py --piano build/release/piano --json bench.json --docs docs/benchmarks.md

The cases come from `piano bench --export`; a peer loads the same parameters and must give the same logits, loss and gradients before it is
timed, else this ends with exit 1. All are timed in turn. --json is written after every part, and --resume goes on with the parts that it
lacks; --from prints what is there. A peer that is not ready within --limit seconds has a row that says so.

The peers' settings come from --settings (settings.json beside this file); --search looks for the fastest ones and writes them there.
--prepare compares every peer's results with ours and compiles what is to be compiled, into --folder, and times nothing.
--selftest shows that the comparison can fail.
"""

import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = ("eager", "compile", "onnx")
QUICK = ["train-32x20-d64", "infer-100"]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = lambda text: text.split(",")
    p.add_argument("--piano", default="build/release/piano", help="the binary (default: %(default)s)")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--cases", type=listed, metavar="NAME,..", help="of the training and inference cases only these")
    p.add_argument("--peers", type=listed, default=list(PEERS), metavar="NAME,..", help="of eager, compile and onnx only these")
    p.add_argument("--quick", action="store_true", help="3 rounds, one case of each kind, without torch.compile, nothing of ours alone")
    p.add_argument("--limit", type=float, default=300, metavar="S", help="seconds that a peer may take to be ready (default: %(default)g)")
    p.add_argument("--folder", metavar="DIR", help="where cases, ONNX files and compiled kernels are or go, and stay (default: a temporary folder)")
    p.add_argument("--settings", default=os.path.join(HERE, "settings.json"), metavar="FILE", help="the peers' settings (default: the file beside this one)")
    p.add_argument("--json", metavar="FILE")
    p.add_argument("--resume", action="store_true", help="keep what --json has, of the same binary and settings; measure the rest")
    p.add_argument("--docs", metavar="FILE", help="the report in Markdown; with --from from earlier figures")
    p.add_argument("--from", dest="figures", metavar="FILE", help="measure nothing: figures of an earlier --json, complete or not")
    p.add_argument("--search", action="store_true", help="find the peers' fastest settings and write them to --settings; goes on where it was stopped")
    p.add_argument("--prepare", action="store_true", help="compare and compile everything, time nothing")
    p.add_argument("--selftest", action="store_true", help="changes one parameter and checks that the comparison says so and exits with 1")
    a = p.parse_args()
    if unknown := [x for x in a.peers if x not in PEERS]:
        p.error(f"no peer '{unknown[0]}': {', '.join(PEERS)}")
    if a.resume and not a.json:
        p.error("--resume needs --json, the file to go on with")
    if a.quick:
        a.rounds, a.peers, a.cases = 3, [x for x in a.peers if x != "compile"], a.cases or QUICK
    return a


def export(a, folder):
    if os.path.exists(os.path.join(folder, "cases.json")):
        return
    few = QUICK if a.quick or a.selftest else []
    subprocess.run([a.piano, "bench", "--export", folder, *[w for c in few for w in ("--case", c)]], check=True, stdout=sys.stderr)


def run(a, folder):
    from parts import Run
    from record import Record
    from workers import PeerError
    plan = Run(a, folder)
    if a.search:
        return plan.search()
    if a.prepare:
        return plan.prepare()
    record = Record(a.json, plan.identity(), a.resume)
    for section, key, measure in plan.parts():
        if not record.has(section, key):
            print(" ".join(filter(None, (section, key))), file=sys.stderr, flush=True)
            try:
                record.keep(section, key, measure())
            except PeerError as e:
                print(f"  not measured: {e}", file=sys.stderr, flush=True)
    return record.figures


def main():
    a = arguments()
    from record import read, require_packages
    from report import markdown, table
    if a.figures:
        out = read(a.figures)
    else:
        require_packages()
        from workers import Mismatch
        with tempfile.TemporaryDirectory() as temporary:
            folder = a.folder or temporary
            export(a, folder)
            if a.selftest:
                from selftest import selftest
                return selftest(folder)
            try:
                out = run(a, folder)
            except Mismatch as e:
                print(e, file=sys.stderr)
                return 1
        if a.search or a.prepare:
            return out
    print(table(out))
    if a.docs:
        with open(a.docs, "w") as f:
            f.write(markdown(out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
