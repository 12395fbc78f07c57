"""Many clients at once: each has the answer to its own film."""

import threading
import time

import numpy as np
from made_server import files_of

N_CLIENTS = 200


def test_two_hundred_uploads_at_once(place, server):
    files = [*files_of(place.known), *files_of(place.new)]
    wanted = {file.name: answer for file, answer in zip(files, place.bank.predict(files), strict=True)}
    found, seconds, gate = {}, [], threading.Barrier(N_CLIENTS)

    def ask(number):
        film = files[number % len(files)]
        gate.wait()
        begin = time.monotonic()
        answered = server.post("/predict", [film])
        seconds.append(time.monotonic() - begin)
        found[number] = film.name, answered

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(N_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == N_CLIENTS
    for name, answered in found.values():
        assert answered.status == 200, answered.body
        told, right = answered.json()["answers"][0], wanted[name]
        assert told["path"] == name
        assert (told["finding"], told["answer"], told["reason"]) == (right.finding, right.answer, right.reason)
        assert [one["path"] for one in told["exemplars"]] == [one.path for one in right.exemplars]
    p50, p95 = np.percentile(seconds, [50, 95])
    print(f"{N_CLIENTS} uploads at once: p50 {p50:.2f} s, p95 {p95:.2f} s")
