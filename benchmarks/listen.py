"""What `fscxr listen` costs: seconds and memory for each film, sent by several associations at once, one broken midway.

python benchmarks/listen.py --bank clinic.bank --films 500

Films are those of a folder (`--data`), or drawn; each is sent as a CR. The listener is a process of its own.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE

from fewshot_cxr.data.synthetic import draw_film

_PROGRAM = "import sys; sys.argv[0] = 'fscxr'; from fewshot_cxr.cli import main; main()"
_NO_ROOM, _TICK = 0xA700, 0.05
_AGAIN = 2.0  # seconds until a film that had no room is sent again; senders wait longer


def film_to_send(gray, study):
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    film.StudyInstanceUID, film.SeriesInstanceUID = study, generate_uid()
    film.PatientID, film.PatientName, film.Modality = "P1", "TEST^PATIENT", "CR"
    film.Rows, film.Columns = gray.shape
    film.SamplesPerPixel, film.PhotometricInterpretation, film.PixelRepresentation = 1, "MONOCHROME2", 0
    film.BitsAllocated, film.BitsStored, film.HighBit = 16, 12, 11
    film.PixelData = (gray.astype(np.uint16) * 16).tobytes()
    return film


def send(port, grays, n_films, told, *, breaks_after=None):
    """Send films one by one; what is told that there is no room is sent again a little later."""
    sender = AE(ae_title="BENCHMARK")
    sender.add_requested_context(ComputedRadiographyImageStorage, ExplicitVRLittleEndian)
    association = sender.associate("127.0.0.1", port, ae_title="FSCXR")
    study = generate_uid()
    for number in range(n_films):
        film = film_to_send(grays[number % len(grays)], study)
        while (status := association.send_c_store(film).Status) == _NO_ROOM:
            told["no room"] += 1
            time.sleep(_AGAIN)
        told["accepted"] += status == 0
        if breaks_after == number + 1:
            association.dul.socket.send(b"\x04\0\0\0\x10\0")  # the head of a message that never comes
            association.dul.socket.close()
            return
    association.release()


def peak_mb(process):
    """Return the most that was resident; NaN of a process that has just ended."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")


def processor_seconds(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def parsed():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--bank", required=True)
    flags.add_argument("--films", type=int, default=500)
    flags.add_argument("--associations", type=int, default=4)
    flags.add_argument("--size-px", type=int, default=2048)
    flags.add_argument("--data", type=Path, help="a folder of films; default: drawn ones")
    flags.add_argument("--threads", type=int, default=1)
    flags.add_argument("--port", type=int, default=11199)
    flags.add_argument("--sr", action="store_true")
    return flags.parse_args()


def films_of(data, size_px):
    if data is None:
        numbers = range(8)
        drawn = [draw_film("normal", seed=0, patient=one, film=0, source="hospital_a", size_px=256) for one in numbers]
        opened = [Image.fromarray(one.astype(np.uint8)) for one in drawn]
    else:
        files = sorted(file for file in data.rglob("*") if file.suffix in (".png", ".jpg", ".jpeg"))[:20]
        opened = [Image.open(file).convert("L") for file in files]
    return [np.asarray(one.resize((size_px, size_px))) for one in opened]


def send_all(asked, told):
    """Send from several associations at once; the first breaks off in the middle of its films."""
    grays, share = films_of(asked.data, asked.size_px), asked.films // asked.associations
    counts = [share] * (asked.associations - 1) + [asked.films - share * (asked.associations - 1)]
    breaks = [counts[0] // 2] + [None] * (asked.associations - 1)
    senders = [
        threading.Thread(target=send, args=(asked.port, grays, n, told), kwargs={"breaks_after": after})
        for n, after in zip(counts, breaks, strict=True)
    ]
    for one in senders:
        one.start()
    for one in senders:
        one.join()


def main():
    asked, told, lines = parsed(), {"accepted": 0, "no room": 0}, []
    with tempfile.TemporaryDirectory() as folder:
        words = ["listen", asked.bank, "--port", asked.port, "--out", folder, "--threads", asked.threads]
        command = [sys.executable, "-c", _PROGRAM, *map(str, [*words, "--device", "cpu", *["--sr"] * asked.sr])]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert "listens on" in process.stderr.readline()
            reader = threading.Thread(target=lambda: lines.extend(process.stderr))
            reader.start()
            at_rest = peak = peak_mb(process)
            began, started = time.monotonic(), processor_seconds(process)
            used = started
            send_all(asked, told)
            sent = time.monotonic() - began
            process.terminate()
            while process.poll() is None:
                peak, used = np.fmax(peak, peak_mb(process)), np.fmax(used, processor_seconds(process))
                time.sleep(_TICK)
            reader.join()
        seconds, n_films = time.monotonic() - began, told["accepted"]
        pages = [dcmread(file) for file in Path(folder).glob("*.dcm")]
        n_read = sum(page.pixel_array.size > 0 for page in pages if page.Modality == "OT")
        print(f"films of {asked.size_px} px: {n_films} accepted, {told['no room']} times told to come again")
        print(f"pages read back: {n_read}; exit code {process.returncode}; {lines[-1].strip()}")
        print(
            f"{sent:.1f} s until all were sent, {seconds:.1f} until all were answered: {n_films / seconds:.2f} a second"
        )
        print(f"processor: {(used - started) / n_films:.3f} s a film; memory: {at_rest:.0f} MB, {peak:.0f} at most")
        print(f"a page has {max(file.stat().st_size for file in Path(folder).glob('*.dcm')) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
