from .deciders import EXPLAINED_RULES as EXPLAINED_RULES
from .explainer import QUESTIONS as QUESTIONS
from .explainer import Explainer as Explainer
from .explainer import RunFilms as RunFilms
from .focus_report import FilmFocus as FilmFocus
from .focus_report import FocusReport as FocusReport
from .focus_report import explain_films as explain_films
from .overlays import heat_section as heat_section
