"""Interleaved rounds: ours, then each peer, again and again; what counts is the ratio within a round."""

import statistics
import subprocess
import threading
import time

from workers import cpus, ours


def spread(values):
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def middle(answer):
    return statistics.median(answer["ms" if "ms" in answer else "us"])


def compare(binary, folder, case, kind, threads, settings, rounds):
    """settings: peer's name -> Setting. Times of a training step in ms or of an answer in us, ours and theirs, and the ratios theirs / ours.

    Every worker first compares its results with ours; see peer.py.
    """
    bound = cpus(threads)
    workers = {"piano": ours(binary, folder, bound)}
    try:
        for name, setting in settings.items():
            setting.prepare(folder, case)
            workers[name] = setting.start(folder, bound)
        gaps = {name: workers[name].ask(f"check {case} {threads}") for name in settings}
        line = lambda n: f"{kind} {case} {threads} {n}"
        amount = {}  # about half a second each
        for name, worker in workers.items():
            first = middle(worker.ask(line(3)))
            unit = 1e3 if kind == "train" else 1e6
            amount[name] = int(min(500, max(5, 0.5 * unit / first)))
        times, tails, machine = {name: [] for name in workers}, [], []
        for _ in range(rounds):
            machine.append(workers["piano"].ask(f"machine {threads}"))
            for name, worker in workers.items():
                answer = worker.ask(line(amount[name]))
                times[name].append(middle(answer))
                if name == "piano":
                    last = answer
                    if "p99" in answer:
                        tails.append(answer["p99"] / answer["p50"])
        peak = [m["fma_gflops"] for m in machine]
        out = {"case": case, "threads": threads, "our_threads": last["threads"], "unit": "ms" if kind == "train" else "us",
               "times": {name: spread(t) for name, t in times.items()}, "fma_gflops": spread(peak),
               "ratios": {name: spread([y / x for x, y in zip(times["piano"], times[name])]) for name in settings},
               "gaps": {name: {k: g[k] for k in ("logits", "loss", "gradients") if k in g} for name, g in gaps.items()}}
        if "step_flops" in last:
            out["share_of_peak"] = spread([last["step_flops"] / (1e6 * t * p) for t, p in zip(times["piano"], peak)])
        if tails:
            out["p99_over_p50"] = spread(tails)
        return out
    finally:
        for worker in workers.values():
            worker.close()


def throughput(start, case, seconds):
    """Lists a second of all CPUs together: `start(bound)` gives a worker for each."""
    workers = [start([cpu]) for cpu in cpus(1000)]
    try:
        for worker in workers:
            worker.ask(f"infer {case} 1 2")  # loads, and a peer compares its results with ours
        rates = [0.0] * len(workers)

        def ask(i):
            rates[i] = workers[i].ask(f"throughput {case} 1 {seconds}")["lists_per_second"]

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(workers))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return sum(rates)
    finally:
        for worker in workers:
            worker.close()


def compare_throughput(binary, folder, case, settings, rounds, seconds):
    """Each peer's best of the settings given for it: name -> [Setting]."""
    for choices in settings.values():
        for setting in choices:
            setting.prepare(folder, case)
    starts = {"piano": [lambda bound: ours(binary, folder, bound)]}
    starts |= {name: [lambda bound, s=s: s.start(folder, bound) for s in choices] for name, choices in settings.items()}
    rates = {name: [] for name in starts}
    for _ in range(rounds):
        for name, choices in starts.items():
            rates[name].append(max(throughput(start, case, seconds) for start in choices))
    return {"case": case, "lists_per_second": {k: spread(v) for k, v in rates.items()},
            "ratios": {k: spread([x / y for x, y in zip(rates["piano"], rates[k])]) for k in settings}}


def start_to_answer(binary, folder, case, settings, rounds):
    """From the start of a process to its first answer, in ms; the files are in the page cache."""
    with open(f"{folder}/{case}.requests.jsonl") as f:
        request = f.readline()
    runs = {"piano": ([binary, "rerank", "--model", f"{folder}/{case}.model.safetensors"], request, None)}
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
            "ratios": {k: spread([y / x for x, y in zip(times["piano"], times[k])]) for k in settings}}


def peak_memory(binary, folder, line, settings, threads):
    """Peak memory in bytes of a process that does `line` and nothing else."""
    peaks = {}
    for name, setting in {"piano": None, **settings}.items():
        bound = cpus(threads)
        with ours(binary, folder, bound) if setting is None else setting.start(folder, bound, "--unchecked") as worker:
            worker.ask(line)
            peaks[name] = worker.ask("memory")["peak"]
    return {"line": line, "peak": peaks, "ratios": {k: peaks["piano"] / peaks[k] for k in settings}}
