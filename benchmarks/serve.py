"""What `fscxr serve` bears: many uploads at once, and memory over thousands of requests.

    python benchmarks/serve.py [--requests 10000] [--clients 200] [--bank clinic.bank --films FOLDER] [--markdown]

The server runs in a process of its own, over real HTTP on this machine. First `--clients` clients send one film each at
the same moment; every answer must be that of the library, asked alone. Then eight clients send `--requests` requests
one after another: films as JSON and as pages, and every tenth a file that is no film, which must be refused with 422.
Memory is the process's own (RssAnon, without pages of libraries), before that and while they are counted. Without
--bank films are synthetic, 48 px, and the network is small, so that it is the server that is measured. Linux only.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from made_banks import laid_bank
from made_server import RunningServer

from fewshot_cxr.data import find_films
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.serve.settings import Settings

START = "import sys; sys.argv[0] = 'fscxr'; from fewshot_cxr.cli import main; main()"
N_STEADY = 8  # clients of the long run
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)


def memory_mb(pid):
    """Return the memory that a process has for itself."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def started(bank, *flags):
    """Start the command, and return its process and the server."""
    command = [sys.executable, "-c", START, "serve", str(bank), "--port", "0", "--device", "cpu", *map(str, flags)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "is served at" in line:
            port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
            break
    server = RunningServer(port, Settings(bank=bank))
    threading.Thread(target=lambda: [print(line, end="") for line in process.stderr], daemon=True).start()
    while True:
        try:
            server.get("/health")
            return process, server
        except OSError:
            time.sleep(0.1)


def at_once(server, bank, files, n_clients):
    """Send one film by each client at the same moment; return how long each waited."""
    wanted = dict(zip(files, bank.predict(files), strict=True))
    gate, seconds = threading.Barrier(n_clients), []

    def ask(number):
        film = files[number % len(files)]
        gate.wait()
        begin = time.perf_counter()
        answered = server.post("/predict", [film])
        seconds.append(time.perf_counter() - begin)
        told, right = answered.json()["answers"][0], wanted[film]
        assert (told["finding"], told["reason"]) == (right.finding, right.reason), (told, right)

    with ThreadPoolExecutor(n_clients) as pool:
        list(pool.map(ask, range(n_clients)))
    return seconds


def soaked(server, files, n_requests, pid):
    """Send requests; return MB at shares of them, seconds of each, and the statuses that should not have been."""
    counted, lock = {"n": 0}, threading.Lock()
    memory, seconds, wrong = {}, [], []

    def ask(number):
        begin = time.perf_counter()
        if number % 10 == 9:
            answered, expected = server.post("/predict", [("notes.png", b"no film")]), 422
        else:
            page = {"Accept": "text/html"} if number % 10 == 5 else {}
            answered, expected = (
                server.post("/" if page else "/predict", [files[number % len(files)]], headers=page),
                200,
            )
        seconds.append(time.perf_counter() - begin)
        if answered.status != expected:
            wrong.append(answered.status)
        with lock:
            counted["n"] += 1
            for share in SHARES:
                if share not in memory and counted["n"] >= share * n_requests:
                    memory[share] = memory_mb(pid)

    with ThreadPoolExecutor(N_STEADY) as pool:
        list(pool.map(ask, range(n_requests)))
    return memory, seconds, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--bank", type=Path)
    parser.add_argument("--films", type=Path)
    parser.add_argument("--markdown", action="store_true", help="print a table for the docs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.bank is None:
            place = laid_bank(Path(folder))
            file = Path(folder) / "clinic.bank"
            place.bank.save(file, self_contained=True)
            files = [place.films.file(film) for film in place.films]
        else:
            file, files = given.bank, [Path(film) for film in find_films(given.films)[0]][:200]
        bank = SupportBank.load(file)
        process, server = started(file)
        try:
            waits = at_once(server, bank, files, given.clients)
            begin, before = time.perf_counter(), memory_mb(process.pid)
            memory, seconds, wrong = soaked(server, files, given.requests, process.pid)
            rate = given.requests / (time.perf_counter() - begin)
        finally:
            process.terminate()
            process.wait(60)
    rows = [
        (f"{given.clients} films at once, s", np.percentile(waits, 50), np.percentile(waits, 95), max(waits)),
        (f"{given.requests:,} requests of {N_STEADY} clients, s", *np.percentile(seconds, [50, 95]), max(seconds)),
    ]
    print(f"{date.today()}, {platform.machine()}, {rate:.0f} requests a second, {len(wrong)} of a wrong status")
    line = "| {} | {} | {} | {} |" if given.markdown else "{:<40} {:>8} {:>8} {:>8}"
    print(line.format("what", "p50", "p95", "longest"))
    if given.markdown:
        print("| --- | ---: | ---: | ---: |")
    for what, *values in rows:
        print(line.format(what, *(f"{value:.2f}" for value in values)))
    told = ", ".join(f"{share:.0%} {megabytes:.0f} MB" for share, megabytes in memory.items())
    print(f"memory of its own: before {before:.0f} MB, {told}")


if __name__ == "__main__":
    main()
