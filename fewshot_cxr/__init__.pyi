# The public names and where they live: read by type checkers, and by lazy_loader at run time (which wants the dots).
from ._version import __version__ as __version__
from .data import read_dataset as read_dataset
from .data import split_by_patient as split_by_patient
from .embeddings import Embeddings as Embeddings
from .encoders import build_encoder as build_encoder
from .encoders import load_encoder as load_encoder
from .episodes import Episodes as Episodes
from .evaluation import evaluate_episodes as evaluate_episodes
from .image_spec import ImageSpec as ImageSpec
from .inference import embed as embed
from .inference.bank import SupportBank as SupportBank
from .records import Record as Record
from .records import Records as Records
from .training import ClassifierTrainer as ClassifierTrainer
from .training import SiameseTrainer as SiameseTrainer
