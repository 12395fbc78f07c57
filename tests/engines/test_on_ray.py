"""A cluster of two workers on this machine: a process is killed, then a worker; nothing is lost, and nothing twice."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from made_banks import laid_bank

from fewshot_cxr import engines
from fewshot_cxr.data import write_manifest
from fewshot_cxr.encoders import load_encoder
from fewshot_cxr.engines.merge import shards_of

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`)")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    """A head that does no work, and two workers of two processors."""
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 100 * 2**20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("RAY_raylet_start_wait_time_s", "300")  # beside other work a start takes long
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
        cluster.workers = [cluster.add_node(num_cpus=2, **small) for _ in range(2)]
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def encoders_of(node):
    """Return the processes that are encoders of one worker of the cluster."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            name = (place / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == raylet and name.startswith(b"ray::_Encoder"):
            found.append(int(place.name))
    return found


def plan_of(place, folder, work, table):
    scanned = engines.scan_table(str(table), 6)
    kept = {"kind": work.kind, "spec": work.spec, "decides": work.decides(), "looks_at_pixels": work.looks_at_pixels}
    return engines.Plan(table=scanned, folder=str(folder), batch_size=4, **kept).begun()


def contents(plan):
    return {file.name: file.read_bytes() for file in Path(plan.folder).glob("*.sa*")}


def test_a_killed_worker_costs_no_row_and_changes_no_bit(cluster, tmp_path):
    place = laid_bank(tmp_path)
    write_manifest(place.films, table := place.films.root / "films.csv")
    killed = []

    def kills(n_done, n_all):
        if n_done == 3 and not killed:
            killed.append(encoders_of(cluster.workers[0])[0])
            os.kill(killed[0], signal.SIGKILL)
        if n_done == 8 and len(killed) == 1:
            killed.append(cluster.workers[1])
            cluster.remove_node(killed[1], allow_graceful=False)

    for work in (engines.Embedding(load_encoder(place.run)), engines.Answering(place.bank)):
        here, far = (plan_of(place, tmp_path / work.kind / name, work, table) for name in ("here", "far"))
        engines.run_here(here, work, here.missing(), device="cpu")
        (Path(far.folder) / f".{work.kind}-000009.safe.1.killed00.part").touch()  # of a writer that is gone
        engines.run_on_ray(far, work, far.missing(), device="cpu", progress=kills)
        assert far.missing() == []
        rows = np.concatenate([shard.rows for shard in shards_of(far)])
        np.testing.assert_array_equal(rows, np.arange(len(place.films)))
        assert contents(here) == contents(far)
    assert len(killed) == 2


class Deadly:
    """Work that ends its process."""

    def done(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_cannot_be_made_ends_with_its_reason(cluster, tmp_path):
    place = laid_bank(tmp_path)
    write_manifest(place.films, table := place.films.root / "films.csv")
    work = engines.Embedding(load_encoder(place.run))
    plan = plan_of(place, tmp_path / "shards", work, table)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with pytest.raises(RuntimeError, match="shard 2 ends its workers, 3 times now"):
        engines.run_on_ray(plan, Deadly(), [2], device="cpu")
    table.unlink()
    with pytest.raises(FileNotFoundError, match="films.csv"):
        engines.run_on_ray(plan, work, [0], device="cpu")
