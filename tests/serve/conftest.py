"""A bank in a file, and a server of it that no test changes."""

import pytest
from made_banks import laid_bank
from made_server import served


@pytest.fixture(scope="package")
def place(tmp_path_factory):
    """Films, an encoder and a bank."""
    return laid_bank(tmp_path_factory.mktemp("serve"))


@pytest.fixture
def bank_file(place, tmp_path):
    """A file of the bank for one test alone."""
    file = tmp_path / "clinic.bank"
    place.bank.save(file, self_contained=True)
    return file


@pytest.fixture(scope="package")
def server(place, tmp_path_factory):
    """A server whose bank no test changes."""
    file = tmp_path_factory.mktemp("served") / "clinic.bank"
    place.bank.save(file, self_contained=True)
    with served(file) as running:
        yield running
