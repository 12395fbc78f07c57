"""What other makers' tools say: they send films, and find the objects conformant."""

import shutil
import subprocess

import pytest
from made_dicom import content_of
from made_listen import film_to_send, listening, send

from fewshot_cxr.listen.answers import Asking


def needs(tool):
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed (dcmtk, dicom3tools)")


def said_by(*words):
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page and a report on a film with a film's usual header."""
    folder = tmp_path_factory.mktemp("made")
    with listening(folder, asking=Asking(with_report=True)) as listener:
        send(listener.port, [film_to_send()])
        listener.drain()
    return sorted(folder.glob("*.dcm"))


@needs("echoscu")
@needs("storescu")
def test_dcmtk_echoes_and_sends(tmp_path):
    (tmp_path / "film.dcm").write_bytes(content_of(film_to_send()))
    with listening(tmp_path / "pages") as listener:
        assert said_by("echoscu", "-aec", "FSCXR", "127.0.0.1", listener.port)[0] == 0
        assert said_by("storescu", "-aec", "FSCXR", "127.0.0.1", listener.port, tmp_path / "film.dcm")[0] == 0
        assert said_by("storescu", "-aec", "OTHER", "127.0.0.1", listener.port, tmp_path / "film.dcm")[0] != 0
        listener.drain()
    assert len(list((tmp_path / "pages").iterdir())) == 1


@needs("dcmdump")
def test_dcmtk_reads_pages_and_reports(made):
    for file in made:
        code, told = said_by("dcmdump", file)
        assert code == 0
        assert "DOE^JANE" in told
        assert not any(one in told for one in ("neighbour", "4711 Lane", "4711-2", "Hospital"))


@needs("dsrdump")
def test_dcmtk_reads_the_content_of_a_report(made):
    told = [said_by("dsrdump", file)[1] for file in made]
    (report,) = [one for one in told if "Comprehensive SR Document" in one]
    assert "RESEARCH, NOT FOR DIAGNOSIS" in report
    assert "distance" in report


@needs("dciodvfy")
def test_no_error_is_found_by_dciodvfy(made):
    for file in made:
        told = said_by("dciodvfy", file)[1]
        assert "Error" not in told, told
