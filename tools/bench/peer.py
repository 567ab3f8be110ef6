"""A peer that times cases on demand, by the protocol of `piano bench --worker`: commands on stdin, one JSON object a line on stdout.

    train CASE THREADS STEPS         {"ms": [of each step], "loss"}
    infer CASE THREADS REPEATS       {"us": [of each answer], "p50", "p99", "max"}
    throughput CASE THREADS SECONDS  {"lists_per_second"}
    memory                           {"peak", "current"}: bytes of this process
    check CASE THREADS               {"logits", "loss", "gradients"}: greatest differences from ours

The first command of a case loads it and compares outputs (and gradients) with ours by the same code that is then timed; a mismatch answers
{"mismatch": "..."} and ends the worker with exit 1. Two steps or answers more are not counted.
"""

import argparse
import gc
import json
import sys
import time

from equality import Mismatch, check_logits
from files import Safetensors, case_file, case_info


class Worker:
    def __init__(self, arguments):
        self.a, self.loaded, self.gaps = arguments, (None,), {}

    def load(self, name, threads):
        if self.loaded != (name, threads):
            self.run, self.loaded = None, (None,)
            gc.collect()
            kind = case_info(self.a.folder, name)["kind"]
            self.run = self.start_onnx(name, threads) if self.a.mode == "onnx" else self.start_torch(name, threads, kind)
            for _ in range(2):
                self.run()
            self.loaded = (name, threads)
        return self.run

    def checked(self, name, answer, real=None):
        """The gate of an answer without gradients."""
        if not self.a.unchecked:
            batch = Safetensors(case_file(self.a.folder, name, "batch"))
            self.gaps = {"logits": check_logits(name, batch, *(x.cpu() if hasattr(x, "cpu") else x for x in answer()), real, self.a.copies)}
        return answer

    def start_onnx(self, name, threads):
        from onnx_peer import OnnxRequest, onnx_file
        return self.checked(name, OnnxRequest(onnx_file(self.a.folder, name, self.a.attention, self.a.copies), threads))

    def start_torch(self, name, threads, kind):
        import torch
        from case import Case
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        a, options = self.a, None
        if a.mode == "compile":
            torch._dynamo.reset()
            options = {k: json.loads(v) for k, v in (o.split("=") for o in a.inductor)}
        case = Case(a.folder, name, a.copies, a.device)
        if kind == "train":
            from train_torch import Step
            step = Step(case, a.rows, a.layout, options, attention=a.attention, bags=a.bags, match=a.match, products=a.products)
            if not a.unchecked:
                self.gaps = step.check(case)
            return step
        from infer_torch import answering, scorer
        return self.checked(name, answering(scorer(case, attention=a.attention, match=a.match, products=a.products), options))

    @staticmethod
    def synchronize():
        import torch
        torch.cuda.synchronize()

    def answer(self, line):
        command, *rest = line.split()
        if command == "memory":
            return memory()
        name, threads = rest[0], int(rest[1])
        run, amount = self.load(name, threads), float(rest[2]) if len(rest) > 2 else 0
        out = {"case": name, "threads": threads}
        if command == "check":
            return out | self.gaps
        if command == "throughput":
            end, begin, n = time.perf_counter() + amount, time.perf_counter(), 0
            while time.perf_counter() < end:
                run()
                n += self.a.copies
            return out | {"lists_per_second": n / (time.perf_counter() - begin)}
        times = []
        for _ in range(int(amount)):
            begin = time.perf_counter()
            last = run()
            if self.a.device == "cuda":  # the results are there
                self.synchronize()
            times.append(time.perf_counter() - begin)
        if command == "train":
            return out | {"ms": [1e3 * t for t in times], "loss": last.item()}
        ordered = sorted(1e6 * t for t in times)
        at = lambda q: ordered[max(0, -int(-q * len(ordered) // 1) - 1)]
        return out | {"us": [1e6 * t for t in times], "p50": at(0.5), "p99": at(0.99), "max": ordered[-1]}


def memory():
    with open("/proc/self/status") as f:
        kb = {k: int(v.split()[0]) for k, v in (line.split(":") for line in f) if k in ("VmHWM", "VmRSS")}
    return {"peak": 1024 * kb["VmHWM"], "current": 1024 * kb["VmRSS"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="made by piano bench --export")
    parser.add_argument("--mode", choices=("eager", "compile", "onnx"), default="eager")
    parser.add_argument("--rows", choices=("copy", "dense", "sparse"), default="copy", help="how embedding tables are trained")
    parser.add_argument("--layout", choices=("packed", "padded"), default="packed")
    parser.add_argument("--attention", choices=("sdpa", "math", "mha", "op"), default="sdpa")
    parser.add_argument("--bags", choices=("bag", "padded"), default="bag")
    parser.add_argument("--match", choices=("scatter", "matrix"), default="scatter")
    parser.add_argument("--products", choices=("mkl", "onednn"), default="mkl")
    parser.add_argument("--inductor", action="append", default=[], metavar="OPTION=JSON", help="one of torch.compile's options (repeatable)")
    parser.add_argument("--copies", type=int, default=1, help="the case's lists so many times, as one batch")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--unchecked", action="store_true", help="no comparison: for memory and start-up of what has been compared before")
    worker = Worker(parser.parse_args())
    for line in sys.stdin:
        if line.split() == ["quit"]:
            return 0
        try:
            reply = worker.answer(line)
        except Mismatch as e:
            print(json.dumps({"mismatch": str(e)}), flush=True)
            return 1
        except Exception as e:
            reply = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(reply), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
