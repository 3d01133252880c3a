#!/usr/bin/env python3
"""A Twinfold trainer in Python: NumPy and safetensors, nothing else.

The command `twinfold` does what must be exact (clip, compress, sign, send); this
script does what is yours: the training. Each round it

1. fetches the model that its cluster trains on now   (twinfold model get),
2. trains on data that never leaves this machine,
3. writes the change of every tensor as a safetensors file, and
4. sends it and waits for the result                  (twinfold update submit --wait).

It trains softmax regression: tensors `weight` [features, classes] and `bias`
[classes], as `twinfold task create --architecture softmax` makes them. For another
model, replace `train` below; everything else stays.

    pip install numpy safetensors
    twinfold key new site-a                # once; an operator registers its public key
    python3 train_numpy.py --task digits --cluster 0 --data digits.csv --rounds 5

The node, the folder of keys, the key and its passphrase come from the environment, as
the command itself reads them: TWINFOLD_NODE, TWINFOLD_DIR, TWINFOLD_KEY,
TWINFOLD_PASSPHRASE, TWINFOLD_GENESIS.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
from safetensors.numpy import load_file, save_file

REFUSED_BY_CHAIN = 3


class CommandFailed(Exception):
    """The command said no: its exit code, and its error as JSON."""

    def __init__(self, code, error):
        super().__init__(error.get("error", "no reason given"))
        self.code, self.hint = code, error.get("hint", "")


def twinfold(*words):
    """Runs the command with --json and returns the document that it prints."""
    command = [os.environ.get("TWINFOLD", "twinfold"), "--json", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout)
    try:
        error = json.loads(done.stderr.strip().splitlines()[-1])
    except (ValueError, IndexError):
        error = {"error": done.stderr.strip()}
    raise CommandFailed(done.returncode, error)


def load_data(path, part, parts):
    """Features divided by their largest magnitude, and labels: the last column of a
    CSV file, or arrays x and y of an .npz. Takes every `parts`-th row from `part` on."""
    if path.endswith(".npz"):
        with np.load(path) as arrays:
            x, y = arrays["x"].reshape(len(arrays["y"]), -1), arrays["y"]
    else:
        with open(path, encoding="utf-8") as lines:
            first = lines.readline().split(",")[0]
        table = np.loadtxt(path, delimiter=",", skiprows=0 if is_number(first) else 1)
        x, y = table[:, :-1], table[:, -1]
    x = (x / max(np.abs(x).max(), 1e-12)).astype(np.float32)
    return x[part::parts], y.astype(np.int64)[part::parts]


def is_number(text):
    try:
        float(text)
        return True
    except ValueError:
        return False


def probabilities(model, x):
    logits = x @ model["weight"] + model["bias"]
    logits -= logits.max(axis=1, keepdims=True)
    exp = np.exp(logits)
    return exp / exp.sum(axis=1, keepdims=True)


def evaluate(model, x, y):
    """Mean loss and accuracy of a model: sent along as the trainer's own figures."""
    p = probabilities(model, x)
    loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean()
    return float(loss), float((p.argmax(axis=1) == y).mean())


def train(model, x, y, settings, rng):
    """Mini-batch SGD by the task's settings; returns the trained model."""
    model = {name: values.copy() for name, values in model.items()}
    batch = min(settings["batch"], len(y))
    work = settings["work"]
    per_epoch = -(-len(y) // batch)
    steps = work["steps"] if "steps" in work else work["epochs"] * per_epoch
    for step in range(steps):
        if step % per_epoch == 0:
            order = rng.permutation(len(y))
        rows = order[(step % per_epoch) * batch :][:batch]
        error = probabilities(model, x[rows])
        error[np.arange(len(rows)), y[rows]] -= 1
        error /= len(rows)
        model["weight"] -= settings["learning_rate"] * (x[rows].T @ error)
        model["bias"] -= settings["learning_rate"] * error.sum(axis=0)
    return model


def next_round(task, cluster, last):
    """Waits for a round that this trainer has not sent to; None once the task ended."""
    while True:
        view = twinfold("task", "show", task)
        if view["status"] != "open":
            return None
        mine = next(c for c in view["clusters"] if c["cluster"] == cluster)
        if mine["collecting"] and mine["round"] != last:
            return view, mine
        time.sleep(0.2)


def parse_arguments(text):
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--task", required=True, help="identity or name")
    parser.add_argument("--cluster", type=int, default=0)
    parser.add_argument("--data", required=True, help=".csv (label last) or .npz (x, y)")
    parser.add_argument("--part", default="0/1", help="i/M: every M-th row from i on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def run(args, one_round):
    """Calls `one_round(view, folder)` for each round until enough were done. One JSON
    line a round, and a last one."""
    done, last = 0, None
    with tempfile.TemporaryDirectory() as folder:
        while done < args.rounds:
            found = next_round(args.task, args.cluster, last)
            if found is None:
                break
            view, mine = found
            last = mine["round"]
            try:
                result, loss, accuracy = one_round(view, folder)
            except CommandFailed as failure:
                if failure.code != REFUSED_BY_CHAIN:
                    raise
                # The round was sealed meanwhile, for example: go on with the next.
                print(f"round {last}: {failure} {failure.hint}", file=sys.stderr)
                continue
            done += 1
            line = {"round": result["round"], "counted": result["counted"]}
            print(json.dumps({**line, "loss": loss, "accuracy": accuracy}), flush=True)
    print(json.dumps({"rounds": done}))


def fetch(args, view, load, folder):
    """The model that the cluster trains on now, and its version."""
    path = os.path.join(folder, "model.safetensors")
    got = twinfold("model", "get", "--task", args.task, "--cluster", args.cluster, "--output", path)
    # The file also holds exact integer twins of the tensors; trainers use the F32 ones.
    tensors = load(path)
    return {tensor["name"]: tensors[tensor["name"]] for tensor in view["spec"]["tensors"]}, got["version"]


def submit(args, version, delta, save, examples, loss, accuracy, folder):
    """Sends the change of every tensor, and waits for the round's result."""
    path = os.path.join(folder, "delta.safetensors")
    save(delta, path)
    words = ["--task", args.task, "--cluster", args.cluster, "--base", version, "--delta", path]
    figures = ["--examples", examples, "--loss", loss, "--accuracy", accuracy]
    return twinfold("update", "submit", "--wait", *words, *figures)


def main():
    args = parse_arguments(__doc__)
    part, parts = map(int, args.part.split("/"))
    x, y = load_data(args.data, part, parts)
    rng = np.random.default_rng(args.seed)

    def one_round(view, folder):
        base, version = fetch(args, view, load_file, folder)
        loss, accuracy = evaluate(base, x, y)
        trained = train(base, x, y, view["spec"]["training"], rng)
        delta = {name: trained[name] - base[name] for name in base}
        return submit(args, version, delta, save_file, len(y), loss, accuracy, folder), loss, accuracy

    run(args, one_round)


if __name__ == "__main__":
    try:
        main()
    except CommandFailed as failure:
        sys.exit(f"error: {failure}\n  {failure.hint}")
