#!/usr/bin/env python3
"""Compares our metrics with scikit-learn and pytrec_eval on random data with ties.

    metrics_oracle.py <path of test_piano>

The test binary writes data and our numbers (test case "oracle dump"); here the same data goes through the public packages. Exit code:
0 = all agree to 1e-6, 1 = some do not, 77 = skipped because a package is absent (CTest: SKIP_RETURN_CODE 77).
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import pytrec_eval
    from sklearn.metrics import log_loss, ndcg_score, roc_auc_score
except ImportError as error:
    print(f"skipped: {error}; this check needs the Python packages numpy, scikit-learn and pytrec_eval")
    sys.exit(77)

TOLERANCE = 1e-6


class Comparison:
    def __init__(self):
        self.failed = False

    def check(self, name, ours, theirs):
        """Arrays of the same length; NaN stands for undefined and must be undefined on both sides."""
        ours = np.atleast_1d(np.array(ours, dtype=float))
        theirs = np.atleast_1d(np.array(theirs, dtype=float))
        same_gaps = ours.shape == theirs.shape and np.array_equal(np.isnan(ours), np.isnan(theirs))
        worst = float(np.nanmax(np.abs(ours - theirs))) if same_gaps else float("inf")
        compared = int(np.sum(~np.isnan(ours)))
        good = worst <= TOLERANCE and compared > 0
        self.failed |= not good
        print(f"{'ok  ' if good else 'FAIL'} {name:<48} {compared:>5} compared, largest difference {worst:.1e}")


def dump(test_binary, folder):
    environment = dict(os.environ, PIANO_ORACLE_OUT=folder)
    subprocess.run([test_binary, "--test-case=oracle dump"], env=environment, check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(folder, "metrics.json"), encoding="utf-8") as file:
        return json.load(file)


def per_list(data, values):
    values = np.array(values)
    return [values[a:b] for a, b in zip(data["offsets"], data["offsets"][1:])]


def ndcg_with_average_ties(compare, data):
    """scikit-learn's ndcg_score averages over ties, as TieBreak::average does. It refuses lists of one item: those are 1 by definition."""
    click, conversion = np.array(data["click"]), np.array(data["conversion"])
    scores = per_list(data, data["score"])
    for name, gain in (("click", click), ("conversion", conversion), ("click+conversion", click + conversion)):
        for k in (5, 10):
            theirs = []
            for score, relevance in zip(scores, per_list(data, gain)):
                if relevance.sum() == 0:
                    theirs.append(np.nan)
                elif len(relevance) == 1:
                    theirs.append(1.0)
                else:
                    theirs.append(ndcg_score([relevance], [score], k=k))
            row = f"NDCG@{k} {name}"
            compare.check(f"{row}, average ties (scikit-learn)", data["average"][row], theirs)


def pooled_metrics(compare, data):
    for sample in ("tied", "fine"):
        p, y = np.array(data[sample]["p"]), np.array(data[sample]["y"])
        loss = log_loss(y, p)
        compare.check(f"AUC, {sample} (scikit-learn)", data[sample]["auc"], roc_auc_score(y, p))
        compare.check(f"log loss, {sample} (scikit-learn)", data[sample]["log_loss"], loss)
        compare.check(f"NE, {sample} (scikit-learn)", data[sample]["ne"], loss / log_loss(y, np.full(len(y), y.mean())))
        compare.check(f"PCOC, {sample} (numpy)", data[sample]["pcoc"], p.sum() / y.sum())
    # Without ties the 15 bins are plain to write down.
    p, y = np.array(data["fine"]["p"]), np.array(data["fine"]["y"])
    order = np.argsort(p)
    bins = 15 * (2 * np.arange(len(p)) + 1) // (2 * len(p))
    surplus = np.bincount(bins, weights=(p - y)[order])
    compare.check("ECE, fine (numpy)", data["fine"]["ece"], np.abs(surplus).sum() / len(p))

    p, y, user = np.array(data["tied"]["p"]), np.array(data["tied"]["y"]), np.array(data["gauc"]["user"])
    parts = [(roc_auc_score(y[user == u], p[user == u]), np.sum(user == u)) for u in np.unique(user) if len(set(y[user == u])) == 2]
    aucs, weights = map(np.array, zip(*parts))
    compare.check("GAUC (scikit-learn per user)", data["gauc"]["value"], (aucs * weights).sum() / weights.sum())
    compare.check("GAUC users used, skipped", [data["gauc"]["used"], data["gauc"]["skipped"]],
                  [len(parts), len(np.unique(user)) - len(parts)])


def read_run(path):
    run = {}
    with open(path, encoding="utf-8") as file:
        for request, _, item, _, score, _ in map(str.split, file):
            run.setdefault(request, {})[item] = float(score)
    return run


def read_qrels(path):
    qrels = {}
    with open(path, encoding="utf-8") as file:
        for request, _, item, grade in map(str.split, file):
            qrels.setdefault(request, {})[item] = int(grade)
    return qrels


def trec_files(compare, data, folder):
    """The files that we write, through trec_eval's own code: it must see the order that we evaluated."""
    measures = {"ndcg_cut.5,10", "map_cut.10", "recip_rank", "success.1,5,10"}
    graded = [("ndcg_cut_5", "NDCG@5 click+conversion"), ("ndcg_cut_10", "NDCG@10 click+conversion"), ("map_cut_10", "MAP@10 click"),
              ("recip_rank", "MRR click"), ("success_1", "HR@1 click"), ("success_5", "HR@5 click"), ("success_10", "HR@10 click")]
    for files, pairs in (("graded", graded), ("target", [("recip_rank", "MRR target")])):
        run = read_run(os.path.join(folder, files + ".run"))
        qrels = read_qrels(os.path.join(folder, files + ".qrels"))
        results = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
        # trec_eval gives 0 to a list without a positive; we leave it out.
        positive = {request: any(grade > 0 for grade in grades.values()) for request, grades in qrels.items()}
        for theirs_name, ours_name in pairs:
            theirs = [results[request][theirs_name] if positive[request] else np.nan for request in data["request"]]
            compare.check(f"{ours_name} (pytrec_eval {theirs_name})", data["hash"][ours_name], theirs)


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        sys.exit(2)
    compare = Comparison()
    with tempfile.TemporaryDirectory() as folder:
        data = dump(sys.argv[1], folder)
        ndcg_with_average_ties(compare, data)
        pooled_metrics(compare, data)
        trec_files(compare, data, folder)
    sys.exit(1 if compare.failed else 0)


if __name__ == "__main__":
    main()
