"""The bank that is served: one writer at a time, the file first, and what is taken back is as it was."""

import threading
from itertools import pairwise

import pytest
from made_banks import NEW, save_network
from made_server import files_of

from fewshot_cxr._sole_writer import only_writer
from fewshot_cxr.inference.bank import SupportBank
from fewshot_cxr.serve import keeper as module
from fewshot_cxr.serve.changes import ChangeLog
from fewshot_cxr.serve.keeper import BankBusy, BankKeeper
from fewshot_cxr.serve.settings import Settings


def keepers(file, n):
    return [BankKeeper(Settings(bank=file, device="cpu")) for _ in range(n)]


def test_two_writers_lose_nothing(place, bank_file):
    films = files_of(place.new, 6)
    pairs = list(zip(keepers(bank_file, 2), (films[:3], films[3:]), strict=True))
    threads = [threading.Thread(target=lambda k, own: [k.add(NEW, [one]) for one in own], args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert SupportBank.load(bank_file).table.findings.count(NEW) == 6
    log = ChangeLog(bank_file).read()
    assert [change.id for change in log] == list(range(1, 7))
    assert all(before.after == after.before for before, after in pairwise(log))


def test_changes_are_taken_back_one_by_one(place, bank_file):
    one, other = keepers(bank_file, 2)
    hashes = [place.bank.content_hash]
    for film in files_of(place.new, 3):
        one.add(NEW, [film])
        hashes.append(one.served.content_hash)
    with pytest.raises(LookupError, match="change 1 cannot be taken back: change 3 is the one that can be"):
        other.undo(1)
    for number in (3, 2, 1):
        other.undo(number)
        assert other.served.content_hash == hashes[number - 1]
    assert one.refresh().bank == place.bank


def test_a_bank_that_was_changed_elsewhere_is_not_put_back(place, bank_file):
    (keeper,) = keepers(bank_file, 1)
    keeper.add(NEW, files_of(place.new, 1))
    place.bank.save(bank_file, self_contained=True)
    with pytest.raises(LookupError, match="the bank was changed elsewhere since"):
        keeper.undo(1)


def test_a_writer_that_does_not_end(place, bank_file, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.2)
    (keeper,) = keepers(bank_file, 1)
    held, go_on = threading.Event(), threading.Event()

    def hold():
        with only_writer(bank_file, is_folder=False):
            held.set()
            go_on.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    with pytest.raises(BankBusy, match="another process changes the bank: come again"):
        keeper.add(NEW, files_of(place.new, 1))
    go_on.set()
    thread.join()
    assert keeper.add(NEW, files_of(place.new, 1)).id == 1


def test_a_disk_that_is_full_changes_nothing(place, bank_file, monkeypatch):
    (keeper,) = keepers(bank_file, 1)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SupportBank, "save", fail)
    with pytest.raises(OSError, match="No space"):
        keeper.add(NEW, files_of(place.new, 1))
    assert keeper.served.bank == place.bank
    assert keeper.log.undoable() is None
    assert keeper.log.read() == []


def test_a_line_that_was_left_half(place, bank_file):
    (keeper,) = keepers(bank_file, 1)
    keeper.add(NEW, files_of(place.new, 1))
    log = bank_file.with_name("clinic.bank.changes") / "log.jsonl"
    log.write_text(log.read_text() + '{"id": 2, "time": "20')
    assert [change.id for change in keeper.log.read()] == [1]
    keeper.undo(1)
    assert keeper.served.bank == place.bank
    assert [change.what for change in keeper.log.read()] == ["added", "undone"]


def test_a_bank_of_another_encoder_in_its_place_is_not_written_over(place, bank_file, tmp_path):
    (keeper,) = keepers(bank_file, 1)
    save_network(tmp_path / "other", seed=1)
    SupportBank.build(tmp_path / "other", place.known, device="cpu").save(bank_file, self_contained=True)
    rebuilt = bank_file.read_bytes()
    with pytest.raises(ValueError, match="the file of the bank was replaced by one that is not served"):
        keeper.add(NEW, files_of(place.new, 1))
    assert bank_file.read_bytes() == rebuilt
    assert keeper.refresh().bank == place.bank  # which still answers


def test_a_device_that_is_none_is_refused_at_the_start(bank_file):
    with pytest.raises(ValueError, match="device 'nonsense' is not one of"):
        BankKeeper(Settings(bank=bank_file, device="nonsense"))
