"""A small encoder, synthetic films of patients, and banks of them."""

from types import SimpleNamespace

from made_encoders import settled_encoder

from fewshot_cxr.data.synthetic import make_synthetic
from fewshot_cxr.encoders import load_encoder, save_encoder
from fewshot_cxr.inference.bank import SupportBank

KNOWN, NEW = ("effusion", "normal"), "cardiomegaly"
N_EXEMPLARS = 12


def save_network(folder, *, seed=0):
    """Save an encoder in a run folder; it says that it was taught findings, so that no bank takes it for random."""
    encoder = settled_encoder("resnet9", seed=seed, size_px=32, width=4)
    save_encoder(encoder, folder / "encoder.safetensors", card={"findings": list(KNOWN), "distance": "euclidean"})


def lay_bank_films(folder, n_known=24, n_new=8):
    """Draw films of three findings into `folder`."""
    counts = {**dict.fromkeys(KNOWN, n_known), NEW: n_new}
    return make_synthetic(folder, n_patients=counts, findings=(*KNOWN, NEW), size_px=48)


def laid_bank(folder):
    """Return films, an encoder and a bank of the known findings, with thumbnails, calibrated on itself."""
    save_network(folder / "run")
    films = lay_bank_films(folder / "data")
    place = SimpleNamespace(folder=folder, run=folder / "run", films=films, encoder=load_encoder(folder / "run"))
    place.known = films.where(lambda film: film.finding in KNOWN)
    place.new = films.where(lambda film: film.finding == NEW)
    place.bank = SupportBank.build(place.encoder, place.known, n_exemplars=N_EXEMPLARS, thumbnails=True)
    return place
