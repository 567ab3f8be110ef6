"""What a run measures, part by part: (section, key, function)."""

import json
import os
import subprocess
import sys
import tempfile
import time

import rounds as r
from record import digest, read, versions, write
from workers import PeerError, Setting, cpus

NAMES = {"eager": "PyTorch eager", "compile": "PyTorch compile", "onnx": "ONNX Runtime"}


class Run:
    def __init__(self, a, folder):
        self.a, self.folder = a, folder
        cases = read(os.path.join(folder, "cases.json"))
        if unknown := [c for c in a.cases or [] if c not in [x["name"] for x in cases]]:
            sys.exit(f"no case '{unknown[0]}' in {folder}: " + ", ".join(x["name"] for x in cases))
        chosen = lambda kind: [x["name"] for x in cases if x["kind"] == kind and x["name"] in (a.cases or [x["name"]])]
        self.trains, self.infers = chosen("train"), chosen("infer")
        usual = lambda names, wanted: wanted if wanted in names or not names else names[0]
        self.train_case, self.infer_case = usual(self.trains, "train-128x50-d64"), usual(self.infers, "infer-100")
        self.most = min(2, len(os.sched_getaffinity(0)))
        self.kept = read(a.settings) if os.path.exists(a.settings) else {"peers": {}}
        self.settings = {k: Setting(**v["setting"]) for k, v in self.kept["peers"].items() if k.split()[1] in a.peers}
        if not self.settings and not a.search:
            sys.exit(f"{a.settings} has no settings for {', '.join(a.peers)}: find some with --search")

    def identity(self):
        return {"versions": versions(), "binary": digest(self.a.piano), "rounds": self.a.rounds, "settings": {k: v["setting"] for k, v in self.kept["peers"].items()},
                "trials": {k: v["trials"] for k, v in self.kept["peers"].items()}, "settings_found": self.kept.get("found", {})}

    def of_kind(self, kind):
        return {NAMES[k.split()[1]]: s for k, s in self.settings.items() if k.startswith(kind)}

    def compare(self, case, kind, threads):
        return r.compare(self.a.piano, self.folder, case, kind, threads, self.of_kind(kind), self.a.rounds, self.a.limit)

    def parts(self):
        a, infer = self.a, {k: s for k, s in self.of_kind("infer").items() if k != NAMES["compile"]}
        for case in self.trains:
            yield "training", case, lambda case=case: self.compare(case, "train", self.most)
        for case in self.infers:
            yield "inference", case, lambda case=case: self.compare(case, "infer", 1)
        if self.infers:
            if self.most > 1:
                yield "best_threads", "", lambda: r.best_threads(a.piano, self.folder, self.infer_case, self.of_kind("infer"), a.rounds, a.limit)
            batched = {name: [s, s.changed(ways={"copies": 16})] for name, s in infer.items()}
            yield "throughput", "", lambda: r.compare_throughput(a.piano, self.folder, self.infer_case, batched, 3, 1)
            yield "start", "", lambda: r.start_to_answer(a.piano, self.folder, self.infer_case, infer, a.rounds)
            yield "memory", "serving", lambda: r.peak_memory(a.piano, self.folder, f"infer {self.infer_case} 1 20", self.of_kind("infer"), 1, a.limit)
        if self.trains:
            yield "memory", "training", lambda: r.peak_memory(a.piano, self.folder, f"train {self.train_case} {self.most} 3", self.of_kind("train"), self.most,
                                                              a.limit)
        if not a.quick:
            for name, mode in {"own": ["--rounds", str(a.rounds)], "linear": ["--ops", "linear"], "growth": ["--growth", "--rounds", str(a.rounds)]}.items():
                yield name, "", lambda mode=mode: self.own(mode)

    def own(self, mode):
        """What `piano bench` measures of itself."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "figures.json")
            subprocess.run([self.a.piano, "bench", *mode, "--json", path], check=True, stdout=subprocess.DEVNULL)
            return read(path)

    def prepare(self):
        """Every peer of every case compares its results with ours; what it compiles stays in the folder."""
        for kind, cases, counts in (("train", self.trains, [self.most]), ("infer", self.infers, [1, self.most])):
            for case in cases:
                for threads in counts if case in (*self.trains, self.infer_case) else [1]:
                    for name, setting in self.of_kind(kind).items():
                        begin = time.perf_counter()
                        try:
                            setting.prepare(self.folder, case)
                            with setting.start(self.folder, cpus(threads)) as worker:
                                gaps = worker.ask(f"check {case} {threads}", self.a.limit)
                            said = ", ".join(f"{k} {gaps[k]:.1e}" for k in ("logits", "loss", "gradients") if k in gaps)
                        except PeerError as e:
                            said = str(e)
                        print(f"{case}, {r.counted(threads)}: {name}: {time.perf_counter() - begin:.0f} s: {said}", flush=True)
        return 0

    def search(self):
        from sweep import SEARCHES, search
        v = versions()
        found = {k: v[k] for k in ("cpu", "torch", "onnxruntime")} | {"training": self.train_case, "inference": self.infer_case}
        if self.kept.get("found", found) != found:
            sys.exit(f"{self.a.settings} was found elsewhere or with other versions; name another file to search anew")
        self.kept["found"] = found
        for which, (*_, whose) in SEARCHES.items():
            if which in self.kept["peers"] or which.split()[1] not in self.a.peers:
                continue
            environment = self.kept["peers"].get(whose, {}).get("setting", {}).get("env", {})
            train = which.startswith("train")
            setting, trials = search(which, environment, self.folder, self.train_case if train else self.infer_case, self.most if train else 1, self.a.limit)
            self.kept["peers"][which] = {"setting": setting.to_json(), "trials": trials}
            write(self.a.settings, self.kept)
        print(json.dumps({k: v["setting"] for k, v in self.kept["peers"].items()}, indent=1))
        return 0
