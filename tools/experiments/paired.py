#!/usr/bin/env python3
"""Paired comparison over users of what `piano evaluate --per-list` wrote.

    paired.py METRIC FILE...               systems of the same files: PIANO against each heuristic; one file a seed
    paired.py METRIC FILE... --vs FILE...  PIANO of the first files (one a seed) minus PIANO of the others

Seeds are averaged per list first; then users are drawn with replacement, 2,000 times, and bring all their lists along.
Needs numpy; without it says so and exits 77.
"""
import csv
import sys
from collections import defaultdict

try:
    import numpy as np
except ImportError:
    print("paired.py: numpy is not installed; nothing was compared")
    sys.exit(77)


def read(paths, metric):
    """{system: {request: [value per seed]}}, {request: user}"""
    values, users = defaultdict(lambda: defaultdict(list)), {}
    for path in paths:
        with open(path, newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                if row[metric] == "":
                    continue
                values[row["system"]][row["request"]].append(float(row[metric]))
                users[row["request"]] = row["user"] or row["request"]
    return values, users


def interval(difference, users, requests, draws=2000):
    index = {u: i for i, u in enumerate(sorted({users[r] for r in requests}))}
    sums, counts = np.zeros(len(index)), np.zeros(len(index))
    for d, r in zip(difference, requests):
        sums[index[users[r]]] += d
        counts[index[users[r]]] += 1
    random = np.random.default_rng(1)
    means = []
    for _ in range(draws):
        chosen = random.integers(0, len(index), len(index))
        means.append(sums[chosen].sum() / counts[chosen].sum())
    return np.percentile(means, [2.5, 97.5])


def compare(name, a, b, users):
    requests = sorted(a.keys() & b.keys())
    difference = np.array([np.mean(a[r]) - np.mean(b[r]) for r in requests])
    low, high = interval(difference, users, requests)
    print(f"{name:42s} {difference.mean():+.4f}  [{low:+.4f}, {high:+.4f}]  {len(requests)} lists, {len({users[r] for r in requests})} users")


def main():
    metric, arguments = sys.argv[1], sys.argv[2:]
    cut = arguments.index("--vs") if "--vs" in arguments else len(arguments)
    values, users = read(arguments[:cut], metric)
    for system, lists in values.items():
        seeds = len(next(iter(lists.values())))
        by_seed = [np.mean([v[s] for v in lists.values()]) for s in range(seeds)]
        print(f"{metric}: {system:28s} {np.mean(by_seed):.4f}   by seed " + " ".join(f"{x:.4f}" for x in by_seed))
    if cut < len(arguments):
        others, _ = read(arguments[cut + 1:], metric)
        compare("PIANO - PIANO of the other files", values["PIANO"], others["PIANO"], users)
        return
    for system in values:
        if system != "PIANO":
            compare(f"PIANO - {system}", values["PIANO"], values[system], users)


main()
