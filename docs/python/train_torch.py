#!/usr/bin/env python3
"""A Twinfold trainer in Python: the PyTorch variant of train_numpy.py.

It trains the network with one hidden layer that `twinfold task create --architecture
mlp:H` makes: `hidden.weight` [features, H], `hidden.bias`, `output.weight`
[H, classes], `output.bias`. Twinfold's weights are [inputs, outputs], PyTorch's
[outputs, inputs]: they are transposed on the way in and out.

    pip install torch safetensors numpy
    python3 train_torch.py --task digits --cluster 0 --data digits.csv --rounds 5

The rest (the command, its environment, the data) is as in train_numpy.py, whose helpers
are used from beside this file.
"""

import sys

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from train_numpy import CommandFailed, fetch, load_data, parse_arguments, run, submit

LAYERS = {"hidden": 0, "output": 2}


def network(tensors):
    """The task's network with these values."""
    features, hidden = tensors["hidden.weight"].shape
    classes = tensors["output.weight"].shape[1]
    model = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))
    with torch.no_grad():
        for name, index in LAYERS.items():
            model[index].weight.copy_(tensors[f"{name}.weight"].T)
            model[index].bias.copy_(tensors[f"{name}.bias"])
    return model


def values(model):
    """The network's values, named and shaped as the task has them."""
    found = {}
    for name, index in LAYERS.items():
        found[f"{name}.weight"] = model[index].weight.detach().T.contiguous()
        found[f"{name}.bias"] = model[index].bias.detach().clone()
    return found


@torch.no_grad()
def evaluate(model, x, y):
    logits = model(x)
    accuracy = (logits.argmax(dim=1) == y).float().mean()
    return float(functional.cross_entropy(logits, y)), float(accuracy)


def train(model, x, y, settings, generator):
    """Mini-batch SGD by the task's settings."""
    optimiser = torch.optim.SGD(model.parameters(), lr=settings["learning_rate"])
    batch = min(settings["batch"], len(y))
    work = settings["work"]
    per_epoch = -(-len(y) // batch)
    steps = work["steps"] if "steps" in work else work["epochs"] * per_epoch
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(y), generator=generator)
        rows = order[(step % per_epoch) * batch :][:batch]
        optimiser.zero_grad()
        functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()


def main():
    args = parse_arguments(__doc__)
    part, parts = map(int, args.part.split("/"))
    x, y = (torch.from_numpy(array) for array in load_data(args.data, part, parts))
    generator = torch.Generator().manual_seed(args.seed)

    def one_round(view, folder):
        base, version = fetch(args, view, load_file, folder)
        model = network(base)
        loss, accuracy = evaluate(model, x, y)
        train(model, x, y, view["spec"]["training"], generator)
        trained = values(model)
        delta = {name: trained[name] - base[name] for name in base}
        return submit(args, version, delta, save_file, len(y), loss, accuracy, folder), loss, accuracy

    run(args, one_round)


if __name__ == "__main__":
    try:
        main()
    except CommandFailed as failure:
        sys.exit(f"error: {failure}\n  {failure.hint}")
