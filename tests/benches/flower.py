"""Flower on the same work, for the benches.

    flower.py RESULT round CLIENTS VALUES WARM_UP ROUNDS
    flower.py RESULT fold UPDATES VALUES REPETITIONS

`round` runs the legacy gRPC server with FedAvg, and trivial clients in processes
of their own. A round is measured as on the other side: from the moment the last
client has a global model as an array to the moment it has the next.
`aggregate` runs a strategy over updates as they come from the wire.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time

import flwr
import numpy as np

DELTA = np.float32(0.001)


def clock():
    """The same in all processes."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def cpu(pid):
    """User and system time, from /proc, in seconds."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def serve(*arguments):
    clients, values, warm_up, rounds = map(int, arguments)
    from flwr.common import ndarrays_to_parameters
    from flwr.server import ServerConfig, start_server
    from flwr.server.strategy import FedAvg

    address = f"127.0.0.1:{free_port()}"
    # One round more: its start is when the last measured model is in all hands.
    last = warm_up + rounds + 1
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "-", "client", address],
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent,
            text=True,
        )
        for _ in range(clients)
    ]
    spent = {}

    class Measured(FedAvg):
        def configure_fit(self, server_round, parameters, client_manager):
            spent[server_round] = (cpu(os.getpid()), sum(cpu(p.pid) for p in processes))
            return super().configure_fit(server_round, parameters, client_manager)

    strategy = Measured(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=clients,
        min_available_clients=clients,
        initial_parameters=ndarrays_to_parameters([np.zeros(values, dtype=np.float32)]),
    )
    start_server(
        server_address=address,
        config=ServerConfig(num_rounds=last),
        strategy=strategy,
    )
    times = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    visible = [max(at) for at in zip(*times, strict=True)]
    assert len(visible) == last, f"{len(visible)} rounds instead of {last}"
    visible = visible[warm_up:]
    first, final = spent[warm_up + 1], spent[last]
    return {
        "version": flwr.__version__,
        "round_ms": [1e3 * (b - a) for a, b in zip(visible, visible[1:])],
        "server_cpu_s": (final[0] - first[0]) / rounds,
        "clients_cpu_s": (final[1] - first[1]) / rounds,
    }


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def client(address):
    from flwr.client import NumPyClient, start_client

    seen = []

    class Trivial(NumPyClient):
        def fit(self, parameters, config):
            seen.append(clock())
            return [array + DELTA for array in parameters], 100, {}

    start_client(
        server_address=address,
        client=Trivial().to_client(),
        max_wait_time=30.0,
        insecure=True,
    )
    print(json.dumps(seen))


def aggregate(rule, updates, values, repetitions):
    """A strategy over updates as the server has them from the wire."""
    from unittest.mock import Mock

    from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
    from flwr.server.strategy import FedAvg, FedMedian, FedTrimmedAvg, Krum

    updates, values, repetitions = map(int, (updates, values, repetitions))
    strategies = {
        "mean": FedAvg,
        "median": FedMedian,
        "trimmed:0.2": lambda: FedTrimmedAvg(beta=0.2),
        "krum:10": lambda: Krum(num_malicious_clients=10),
        "multi-krum:10:50": lambda: Krum(num_malicious_clients=10, num_clients_to_keep=50),
    }

    random = np.random.default_rng(1)
    status = Status(Code.OK, "")

    def result(number):
        array = random.standard_normal(values, dtype=np.float32)
        return Mock(), FitRes(status, ndarrays_to_parameters([array]), 100 + number, {})

    results = [result(number) for number in range(updates)]
    strategy, seconds = strategies[rule](), []
    spent = cpu(os.getpid())
    for number in range(repetitions):
        started = clock()
        strategy.aggregate_fit(number, results, [])
        seconds.append(clock() - started)
    return {
        "version": flwr.__version__,
        "strategy": type(strategy).__name__,
        "seconds": seconds,
        "cpu_s": (cpu(os.getpid()) - spent) / repetitions,
    }


def main():
    target, what, *arguments = sys.argv[1:]
    if what == "client":
        client(*arguments)
        return
    result = {"round": serve, "aggregate": aggregate}[what](*arguments)
    with open(target, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
