"""Actors on a Ray cluster: order in, work in, results out, whatever dies; what goes wrong is known in the driver."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

import semshard
from semshard.errors import RunError, SettingError, TooManyRejects
from semshard.workers import WorkerOptions
from tests.support.ray_cluster import add_node, kill_node, ray_cluster, ray_settings
from tests.support.runs import TINY

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray, which is not ours


def job(order, works, report):
    """Does what each piece of work says, and adds the order to it."""
    for work in works:
        match work:
            case int():
                report(work)
                yield order + work, os.getpid()
            case "meet", folder:
                Path(folder, str(os.getpid())).touch()
                while len(os.listdir(folder)) < 2:  # the other worker has not come yet
                    time.sleep(0.01)
                yield "met", os.getpid()
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "die once", report_first, marker:
                for each in report_first:
                    report(each)
                if first(marker):
                    os.kill(os.getpid(), signal.SIGKILL)
                yield "alive"
            case "hang once", marker:
                if first(marker):
                    threading.Event().wait()
                yield "awake"
            case "disk once", marker:
                if first(marker):
                    raise OSError(5, "Input/output error", "a file")
                yield "written"
            case "wait once", marker:
                if first(marker, node()):
                    threading.Event().wait()
                yield node()
            case _:
                raise TooManyRejects("3 of 4 inputs are unusable")


def node():
    import ray

    return ray.get_runtime_context().get_node_id()


def first(marker, text=""):
    """Whether nobody was here before."""
    try:
        with open(marker, "x") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def pool(cluster):
    """Makes a pool on the cluster, and keeps what it remarks."""
    return maker(cluster.address)


def maker(address):
    from semshard.workers.ray_pool import RayPool

    def make(retries=3, **more):
        options = WorkerOptions("ray", 2, address, retries=retries)
        return RayPool(options, 2, remark=make.remarks.append, **more)

    make.remarks = []
    return make


@pytest.mark.slow
def test_every_piece_of_work_has_its_result_and_its_reports_once_though_a_worker_dies(tmp_path, capfd):
    """On a cluster that the pool starts for itself."""
    (tmp_path / "here").mkdir()
    meetings = 3 * [("meet", str(tmp_path / "here"))]  # more than one worker is given at a time
    works, reports, hellos = [*meetings, *range(20), ("die once", [-1, -2], str(tmp_path / "died"))], [], []
    with ray_settings():
        pool = maker("")
        made = pool(enter=enter, admit=lambda hello, node: hellos.append(hello))
        found = list(made.run(job, 100, works, reports.append))
    assert found.count("alive") == 1
    pairs = [each for each in found if each != "alive"]
    numbers = [(value, process) for value, process in pairs if value != "met"]
    assert sorted(value for value, _ in numbers) == list(range(1100, 1120))
    assert sorted(reports) == list(range(-2, 20))
    assert len(pairs) == 23
    assert len({process for value, process in pairs if value == "met"}) == 2
    assert {hello["process"] for hello in hellos} >= {str(process) for _, process in pairs}
    (remark,) = [each for each in pool.remarks if "die once" in each]
    assert remark.startswith("a worker was lost with ('die once'")
    assert remark.endswith("it is made again, attempt 2 of 4")
    assert capfd.readouterr().out == ""


def enter(order):
    return order + 1000, {"process": str(os.getpid())}


@pytest.mark.slow
def test_an_error_of_the_job_is_raised_in_the_driver(pool):
    with pytest.raises(TooManyRejects, match="3 of 4"):
        list(pool().run(job, 100, [1, "fail", 2], print))


@pytest.mark.slow
def test_work_that_kills_its_worker_every_time_is_named_when_all_else_is_done(pool):
    found, reports = [], []
    with pytest.raises(
        RunError, match=r"could not be made, each after 2 attempts: die \(ActorDiedError: .+\)\. What else"
    ):
        for result in pool(retries=1).run(job, 0, [*range(5), "die", *range(5, 10)], reports.append):
            found.append(result[0])
    assert sorted(found) == list(range(10))
    assert len(pool.remarks) == 2
    assert pool.remarks[-1].endswith("it is left out after 2 attempts")


@pytest.mark.slow
def test_work_that_never_ends_is_taken_away_from_its_worker(pool, tmp_path):
    works = [*range(5), ("hang once", str(tmp_path / "hung"))]
    found = list(pool(least_patience=1.5).run(job, 0, works, lambda message: None))
    assert "awake" in found
    assert len(found) == 6
    assert any("no sign of life for 2 s" in remark for remark in pool.remarks)


@pytest.mark.slow
def test_an_error_of_the_machine_is_tried_elsewhere_and_a_lost_worker_that_had_other_bytes_is_an_error(pool, tmp_path):
    lost = []
    works = [("disk once", str(tmp_path / "a"))]
    assert list(pool(lost=lost.append).run(job, 0, works, print)) == ["written"]
    assert lost == works
    works = [("disk once", str(tmp_path / "b"))]
    assert list(pool(lost=lambda work: "written").run(job, 0, works, print)) == ["written"]
    works = [("disk once", str(tmp_path / "c"))]
    with pytest.raises(RunError, match="came out with other bytes"):
        list(pool(lost=lambda work: "something else").run(job, 0, works, print))


@pytest.mark.slow
def test_a_node_that_goes_away_does_not_count_and_the_rest_do_its_work(pool, cluster, tmp_path):
    """No attempt may fail here: with one that counted the run would."""
    marker = tmp_path / "node"

    def take_away():
        while not marker.exists() or not marker.read_text():
            time.sleep(0.01)
        (gone,) = [each for each in cluster.worker_nodes if each.node_id == marker.read_text()]
        kill_node(cluster, gone)

    thread = threading.Thread(target=take_away)
    thread.start()
    try:
        *numbers, where = sorted(pool(retries=0).run(job, 0, [*range(5), ("wait once", str(marker))], print), key=str)
    finally:
        thread.join()
        add_node(cluster)
    assert where != marker.read_text()
    assert sorted(value for value, _ in numbers) == list(range(5))


@pytest.mark.slow
def test_a_worker_that_is_not_admitted_ends_the_run_before_any_work(pool):
    def refuse(hello, node):
        raise SettingError(f"node {node} has {hello}")

    with pytest.raises(SettingError, match=r"node [\d.]+ has \{'process'"):
        next(pool(enter=enter, admit=refuse).run(job, 0, range(5), print))


@pytest.mark.slow
def test_an_address_where_no_cluster_answers_is_said(cluster):
    from semshard.workers.ray_pool import RayPool

    nowhere = WorkerOptions("ray", 1, "127.0.0.1:9")
    with pytest.raises(SettingError, match=r"no Ray cluster at 127\.0\.0\.1:9"):
        next(RayPool(nowhere, 1).run(job, 0, [1], print))


def test_protect_says_before_it_trains_that_no_cluster_answers(images, tmp_path):
    pytest.importorskip("ray", reason="needs Ray: pip install 'semshard[ray]'")
    phases = []
    nowhere = WorkerOptions("ray", 1, "127.0.0.1:9")
    with pytest.raises(SettingError, match=r"no Ray cluster at 127\.0\.0\.1:9"):
        semshard.protect(
            images, tmp_path / "out", workers=nowhere, progress=lambda event: phases.append(event.phase), **TINY
        )
    assert "scan" in phases
    assert "surrogate" not in phases
