"""TensorBoard reads the numbers of a run, and does not learn which machine made them."""

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from fewshot_cxr.training.runner import EventFile


def test_tensorboard_reads_the_numbers_and_no_host_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "our-machine")
    logger = EventFile(tmp_path)
    logger.log_hyperparams({"lr": 0.1})
    assert not list(tmp_path.iterdir())
    logger.log_metrics({"loss": 0.5, "lr": -1.5}, step=3)
    logger.log_metrics({"loss": float("nan")}, step=6)
    (file,) = (tmp_path / "logs").iterdir()
    assert file.name.startswith("events.out.tfevents.")
    assert b"our-machine" not in file.read_bytes() + file.name.encode()
    first, *events = EventFileLoader(str(file)).Load()
    assert first.file_version == "brain.Event:2"
    found = [(event.step, value.tag, value.tensor.float_val[0]) for event in events for value in event.summary.value]
    assert found[:2] == [(3, "loss", 0.5), (3, "lr", -1.5)]
    assert found[2][:2] == (6, "loss")
