"""Interleaved rounds: ours, then each peer, again and again; what counts is the ratio within a round."""

import contextlib
import statistics
import subprocess
import threading
import time

from workers import PeerError, cpus, ours

OURS = "piano"


def spread(values):
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "rounds": values}


def ratios(above, below):
    return spread([x / y for x, y in zip(above, below)])


def middle(answer):
    return statistics.median(answer["ms" if "ms" in answer else "us"])


def counted(threads):
    return f"{threads} thread{'s' if threads > 1 else ''}"


class Runners:
    """Processes that stand ready for one case, each having compared its results with ours. A peer that is not ready in time, or cannot do it, is
    in `failed` with the reason.

    wanted: label -> (Setting, or None for ours, threads)
    """

    def __init__(self, binary, folder, case, kind, wanted, limit):
        self.case, self.kind, self.wanted = case, kind, wanted
        self.workers, self.gaps, self.ready, self.failed, self.amount = {}, {}, {}, {}, {}
        try:
            for label, (setting, threads) in wanted.items():
                try:
                    self.begin(binary, folder, label, setting, threads, limit)
                except PeerError as e:
                    if setting is None:
                        raise
                    self.failed[label] = str(e)
                    if label in self.workers:
                        self.workers.pop(label).close()
        except BaseException:
            self.close()
            raise

    def begin(self, binary, folder, label, setting, threads, limit):
        bound, begin = cpus(threads), time.perf_counter()
        if setting is None:
            self.workers[label] = ours(binary, folder, bound)
        else:
            setting.prepare(folder, self.case)
            self.workers[label] = setting.start(folder, bound)
            gaps = self.workers[label].ask(f"check {self.case} {threads}", limit)
            self.gaps[label] = {k: gaps[k] for k in ("logits", "loss", "gradients") if k in gaps}
        first = middle(self.workers[label].ask(self.line(threads, 3), limit))
        self.ready[label] = time.perf_counter() - begin
        self.amount[label] = int(min(500, max(5, 500 * (1 if self.kind == "train" else 1000) / first)))  # about half a second each

    def line(self, threads, amount):
        return f"{self.kind} {self.case} {threads} {amount}"

    def round(self):
        """label -> answer"""
        return {label: worker.ask(self.line(self.wanted[label][1], self.amount[label])) for label, worker in self.workers.items()}

    def close(self):
        for worker in self.workers.values():
            worker.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def compare(binary, folder, case, kind, threads, settings, rounds, limit):
    """settings: peer's name -> Setting. Times of a training step in ms or of an answer in us, ours and theirs, and the ratios theirs / ours."""
    wanted = {OURS: (None, threads)} | {name: (s, threads) for name, s in settings.items()}
    with Runners(binary, folder, case, kind, wanted, limit) as runners:
        peaks, answers = [], []
        for _ in range(rounds):
            peaks.append(runners.workers[OURS].ask(f"machine {threads}")["fma_gflops"])
            answers.append(runners.round())
    times = {name: [middle(a[name]) for a in answers] for name in runners.workers}
    mine = [a[OURS] for a in answers]
    out = {"case": case, "threads": threads, "our_threads": mine[-1]["threads"], "unit": "ms" if kind == "train" else "us",
           "times": {name: spread(t) for name, t in times.items()}, "fma_gflops": spread(peaks),
           "ratios": {name: ratios(times[name], times[OURS]) for name in settings if name in times},
           "gaps": runners.gaps, "ready_s": runners.ready, "failed": runners.failed}
    if "step_flops" in mine[-1]:
        out["share_of_peak"] = spread([m["step_flops"] / (1e6 * t * p) for m, t, p in zip(mine, times[OURS], peaks)])
    if "p99" in mine[-1]:
        out["p99_over_p50"] = spread([m["p99"] / m["p50"] for m in mine])
    return out


def best_threads(binary, folder, case, settings, rounds, limit):
    """Each with one thread and with two, all in turn; each one's better number of threads, by its median, is compared within the rounds."""
    names = {OURS: None} | settings
    wanted = {f"{name}, {counted(n)}": (s, n) for name, s in names.items() for n in (1, 2)}
    with Runners(binary, folder, case, "infer", wanted, limit) as runners:
        answers = [runners.round() for _ in range(rounds)]
    times = {label: [middle(a[label]) for a in answers] for label in runners.workers}
    best = {}
    for name in names:
        if labels := [x for x in times if x.startswith(name + ", ")]:
            best[name] = min(labels, key=lambda x: statistics.median(times[x]))
    return {"case": case, "times": {label: spread(t) for label, t in times.items()}, "best": best, "failed": runners.failed, "gaps": runners.gaps,
            "ratios": {name: ratios(times[label], times[best[OURS]]) for name, label in best.items() if name != OURS}}


class Team:
    """A process on each CPU; lists a second of all together."""

    def __init__(self, start, case):
        self.case, self.workers = case, []
        for cpu in cpus(1000):
            self.workers.append(start([cpu]))
            self.workers[-1].ask(f"infer {case} 1 2")  # loads, and a peer compares its results with ours

    def rate(self, seconds):
        rates = [0.0] * len(self.workers)

        def ask(i):
            rates[i] = self.workers[i].ask(f"throughput {self.case} 1 {seconds}")["lists_per_second"]

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(rates))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return sum(rates)

    def close(self):
        for worker in self.workers:
            worker.close()


def compare_throughput(binary, folder, case, settings, rounds, seconds):
    """Each peer's best of the settings given for it: name -> [Setting]."""
    starts = {OURS: [lambda bound: ours(binary, folder, bound)]}
    starts |= {name: [lambda bound, s=s: s.start(folder, bound) for s in choices] for name, choices in settings.items()}
    with contextlib.ExitStack() as open_teams:
        teams = {}
        for name, choices in starts.items():
            for setting in settings.get(name, []):
                setting.prepare(folder, case)
            for start in choices:
                teams.setdefault(name, []).append(Team(start, case))
                open_teams.callback(teams[name][-1].close)
        found = [{name: [team.rate(seconds) for team in some] for name, some in teams.items()} for _ in range(rounds)]
    best = {name: max(range(len(some)), key=lambda k: statistics.median(f[name][k] for f in found)) for name, some in teams.items()}
    rates = {name: [f[name][k] for f in found] for name, k in best.items()}
    return {"case": case, "lists_per_second": {k: spread(v) for k, v in rates.items()},
            "ratios": {k: ratios(rates[OURS], rates[k]) for k in settings}}


def start_to_answer(binary, folder, case, settings, rounds):
    """From the start of a process to its first answer, in ms; the files are in the page cache."""
    with open(f"{folder}/{case}.requests.jsonl") as f:
        request = f.readline()
    runs = {OURS: ([binary, "rerank", "--model", f"{folder}/{case}.model.safetensors"], request, None)}
    runs |= {name: (s.command(folder, "--unchecked"), f"infer {case} 1 1\n", s) for name, s in settings.items()}
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (command, text, setting) in runs.items():
            begin = time.perf_counter()
            env = None if setting is None else setting.environment(folder)
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
            process.stdin.write(text)
            process.stdin.close()
            if not process.stdout.readline():
                raise RuntimeError(f"{name} gave no answer")
            times[name].append(1e3 * (time.perf_counter() - begin))
            process.stdout.read()
            process.wait()
    return {"case": case, "ms": {k: spread(v) for k, v in times.items()},
            "ratios": {k: ratios(times[k], times[OURS]) for k in settings}}


def peak_memory(binary, folder, line, settings, threads, limit):
    """Peak memory in bytes of a process that does `line` and nothing else."""
    peaks, failed = {}, {}
    for name, setting in {OURS: None, **settings}.items():
        bound = cpus(threads)
        with ours(binary, folder, bound) if setting is None else setting.start(folder, bound, "--unchecked") as worker:
            try:
                worker.ask(line, limit)
                peaks[name] = worker.ask("memory")["peak"]
            except PeerError as e:
                if setting is None:
                    raise
                failed[name] = str(e)
    return {"line": line, "peak": peaks, "ratios": {k: peaks[OURS] / peaks[k] for k in peaks if k != OURS}, "failed": failed}
