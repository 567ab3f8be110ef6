"""Shows that the comparison can fail: one parameter, or one of our gradients, is changed in a copy of a case; peers must refuse to time it."""

import os
import shutil
import tempfile

import numpy as np

from files import Safetensors, case_file
from workers import Mismatch, Setting, cpus

MATRIX = "encoder.0.ffn.up.weight"


def damage(path, name):
    """Adds 1 to the first number of one tensor."""
    at = Safetensors(path).info[name][2]
    numbers = np.memmap(path, dtype=np.float32, mode="r+", offset=at, shape=1)
    numbers[0] += 1
    numbers.flush()


def refuses(setting, folder, line):
    setting.prepare(folder, line.split()[1])
    with setting.start(folder, cpus(1)) as worker:
        try:
            worker.ask(line)
        except Mismatch as e:
            worker.process.wait()
            return worker.process.returncode == 1, str(e)
    return False, "equal, timed"


def selftest(folder):
    """Exit code: 0 when all is refused that should be, and the undamaged case is not."""
    train, infer = "train-32x20-d64", "infer-100"
    peers = {"PyTorch, training": (Setting("eager"), f"train {train} 1 1"), "PyTorch": (Setting("eager"), f"infer {infer} 1 1"),
             "ONNX Runtime": (Setting("onnx", {"attention": "math"}), f"infer {infer} 1 1")}
    changes = {"nothing": ([], []), "one parameter": ([(train, "model", "param."), (infer, "model", "param.")], list(peers)),
               "one gradient": ([(train, "batch", "grad.")], ["PyTorch, training"])}
    failures = 0
    for change, (files, should_refuse) in changes.items():
        with tempfile.TemporaryDirectory() as copy:
            for case in (train, infer):
                for what in ("model", "batch"):
                    shutil.copy(case_file(folder, case, what), copy)
            shutil.copy(os.path.join(folder, "cases.json"), copy)
            for case, what, prefix in files:
                damage(case_file(copy, case, what), prefix + MATRIX)
            for name, (setting, line) in peers.items():
                refused, why = refuses(setting, copy, line)
                ok = refused == (name in should_refuse)
                failures += not ok
                print(f"{'ok' if ok else 'FAILED'}: {change} changed: {name}: {why}", flush=True)
    return 1 if failures else 0
