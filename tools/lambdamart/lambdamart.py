#!/usr/bin/env python3
"""LambdaMART (LightGBM) on the numbers that PIANO is given, as a row of `piano compare`.

    lambdamart.py --data fold1 [--data fold2 ..] --out FOLDER [--piano PATH] [--trials 16] [--seeds 1,2,3] [--split test]

For each fold: `piano export` writes training, validation and tested part as SVMLight; `--trials` settings are tried, each stopped early, and one is
chosen, all on the validation part (MRR of the target where there are targets, else NDCG@10 of click + conversion); it is trained under each seed.
FOLDER/seed<n>.tsv then has a score for every candidate of every fold's tested part: request, item, minus its place. Of that part's lines the labels are not
even read. Put into the table by

    piano compare .. --scores lambdamart=FOLDER/seed1.tsv --scores lambdamart=FOLDER/seed2.tsv ..

Needs lightgbm and numpy (pip install lightgbm); without them says so and exits with 77.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import time

try:
    import lightgbm
    import numpy as np
except ImportError as error:
    print(f"lambdamart.py: {error.name} is not installed (pip install lightgbm); nothing was trained")
    sys.exit(77)

SPACE = {
    "label": ["grade", "target"],  # click + conversion, or the target alone: only where there are targets
    "learning_rate": [0.02, 0.05, 0.1],
    "num_leaves": [7, 15, 31, 63],
    "min_data_in_leaf": [20, 100, 400],
    "feature_fraction": [0.5, 0.8, 1.0],
    "lambda_l2": [0.0, 1.0, 10.0],
    "lambdarank_truncation_level": [5, 10, 30],
}
FIRST = {"label": "grade", "learning_rate": 0.05, "num_leaves": 31, "min_data_in_leaf": 20, "feature_fraction": 1.0, "lambda_l2": 0.0,
         "lambdarank_truncation_level": 30}
ROUNDS, PATIENCE = 1000, 50


class Part:
    """Candidates of one part, in the file's order: x (rows, columns), labels, target, group sizes, names."""

    def __init__(self, path, with_labels):
        rows, self.grade, self.target, self.shown, self.names, self.groups = [], [], [], [], [], []
        request = None
        with open(path) as file:
            columns = len(file.readline().split()) - 1
            for line in file:
                values, comment = line.rstrip("\n").split(" # ")
                label, qid, *cells = values.split(" ")
                name, item, labelled, target = comment.split(" ")
                if qid != request:
                    self.groups.append(0)
                    request = qid
                self.groups[-1] += 1
                row = np.zeros(columns, dtype=np.float32)
                for cell in cells:
                    column, value = cell.split(":")
                    row[int(column) - 1] = float(value)
                rows.append(row)
                self.names.append((name, item))
                if with_labels:
                    self.grade.append(int(label))
                    self.target.append(int(target))
                    self.shown.append(int(labelled))
        self.x = np.stack(rows)
        self.grade, self.target, self.shown = (np.array(v, dtype=np.int32) for v in (self.grade, self.target, self.shown))

    def lists(self):
        begin = 0
        for size in self.groups:
            yield slice(begin, begin + size)
            begin += size


def order_of(score):
    """Places by descending score; equal ones stay in the first ranker's order, as those of heuristics do."""
    return np.argsort(-score, kind="stable")


def reciprocal_rank(score, target):
    return 1.0 / (1 + np.flatnonzero(target[order_of(score)])[0])


def ndcg10(score, grade):
    discount = 1 / np.log2(np.arange(2, 12))
    order = order_of(score)
    top, best = grade[order][:10], np.sort(grade)[::-1][:10]
    return (top * discount[: len(top)]).sum() / (best * discount[: len(best)]).sum()


def measure_of(part, targets):
    """What validation is judged by, as a function of scores."""

    def measure(score):
        values = []
        for rows in part.lists():
            if targets:
                if part.target[rows].any():
                    values.append(reciprocal_rank(score[rows], part.target[rows]))
                continue
            shown = part.shown[rows] == 1
            if part.grade[rows][shown].any():
                values.append(ndcg10(score[rows][shown], part.grade[rows][shown]))
        return float(np.mean(values))

    return measure


def train(settings, seed, train_part, valid_part, measure):
    """The booster, stopped where validation was best, and its value there."""
    parameters = {k: v for k, v in settings.items() if k != "label"}
    parameters |= {"objective": "lambdarank", "metric": "none", "seed": seed, "deterministic": True, "force_row_wise": True, "verbosity": -1,
                   "bagging_fraction": 0.8, "bagging_freq": 1, "label_gain": [0, 1, 2]}  # linear gain, as in docs/metrics.md
    if settings["label"] == "target":
        data = lightgbm.Dataset(train_part.x, label=train_part.target, group=train_part.groups)
    else:  # what was not shown has no grade
        shown = train_part.shown == 1
        groups = [n for n in (int(shown[rows].sum()) for rows in train_part.lists()) if n > 0]
        data = lightgbm.Dataset(train_part.x[shown], label=train_part.grade[shown], group=groups)
    valid = lightgbm.Dataset(valid_part.x, label=valid_part.grade, group=valid_part.groups, reference=data)
    booster = lightgbm.train(parameters, data, ROUNDS, valid_sets=[valid], feval=lambda score, _: ("validation", measure(score), True),
                             callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)])
    return booster, booster.best_score["valid_0"]["validation"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--piano", default=str(pathlib.Path(__file__).resolve().parents[2] / "build/release/piano"))
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--split", default="test", choices=["valid", "test"])
    options = parser.parse_args()
    try:
        seeds = [int(s) for s in options.seeds.split(",")]
    except ValueError:
        parser.error(f"--seeds: expected numbers like 1,2,3, got '{options.seeds}'")
    if not pathlib.Path(options.piano).is_file():
        parser.error(f"--piano {options.piano}: no such file; build it, or say where it is")
    options.out.mkdir(parents=True, exist_ok=True)
    scores = {seed: [] for seed in seeds}
    log = []
    for fold, path in enumerate(options.data, 1):
        def part(name, with_labels):
            file = options.out / f"fold{fold}.{name}.svm"
            exported = subprocess.run([options.piano, "export", "--data", path, "--split", name, "--out", str(file)], stdout=subprocess.DEVNULL)
            if exported.returncode != 0:
                sys.exit(exported.returncode)  # piano has said why
            result = Part(file, with_labels)
            file.unlink()
            return result

        train_part, valid_part, tested = part("train", True), part("valid", True), part(options.split, False)
        targets = bool(train_part.target.any())
        measure = measure_of(valid_part, targets)
        for what, labelled in ("training", train_part), ("validation", valid_part):
            if not (labelled.target if targets else labelled.grade).any():
                print(f"lambdamart.py: {path}: no list of the {what} part has a {'target' if targets else 'click or a conversion'}", file=sys.stderr)
                sys.exit(3)
        draw, tried, seen = random.Random(1), [], set()
        started = time.time()
        trials = [FIRST] + [{k: draw.choice(v) for k, v in SPACE.items()} for _ in range(10 * options.trials)]
        for settings in trials:
            if not targets:
                settings = settings | {"label": "grade"}
            if len(tried) == options.trials or str(settings) in seen:
                continue
            seen.add(str(settings))
            booster, value = train(settings, seeds[0], train_part, valid_part, measure)
            tried.append({"settings": settings, "validation": value, "rounds": booster.best_iteration})
        best = max(tried, key=lambda t: t["validation"])
        tuning = time.time() - started
        started = time.time()
        for seed in seeds:
            booster, value = train(best["settings"], seed, train_part, valid_part, measure)
            predicted = booster.predict(tested.x, num_iteration=booster.best_iteration)
            for rows in tested.lists():
                names = tested.names[rows]
                scores[seed] += [f"{names[i][0]}\t{names[i][1]}\t{-place}\n" for place, i in enumerate(order_of(predicted[rows]))]
        seconds = (time.time() - started) / len(seeds)
        log.append({"data": path, "targets": targets, "tried": tried, "chosen": best, "tuning_seconds": tuning, "training_seconds": seconds})
        print(f"fold {fold}: {len(tried)} tried in {tuning:.0f} s, validation {tried[0]['validation']:.4f} as given, {best['validation']:.4f} chosen: "
              f"{best['settings']}, {best['rounds']} rounds; {seconds:.1f} s a training", flush=True)
    for seed, lines in scores.items():
        (options.out / f"seed{seed}.tsv").write_text("".join(lines))
    (options.out / "tried.json").write_text(json.dumps(log, indent=1) + "\n")


main()
