from .films import ReportFilms as ReportFilms
from .films import film_sections as film_sections
from .inputs import read_inputs as read_inputs
from .page import GivenFilms as GivenFilms
from .page import load_films as load_films
from .page import report_page as report_page
