"""The pages of a bank and of its answers, in a browser."""

import pytest
from browser import check_page
from made_banks import laid_bank

from fewshot_cxr.report import AnswersShown, answers_page, bank_page, render_answers, render_page

pytestmark = pytest.mark.slow  # Chromium alone takes seconds to start


def test_the_pages_of_a_bank(browser, tmp_path):
    place = laid_bank(tmp_path)
    check_page(browser, render_page(bank_page(place.bank)))
    films = [place.films.root / film.path for film in [*place.known][:2]]
    answers = place.bank.predict([*films, tmp_path / "absent.png"], prevalence={"effusion": 0.1})
    shown = AnswersShown(answers, n_answers=3, abstained={"unreadable": 1}, prevalence={"effusion": 0.1})
    check_page(browser, render_answers(answers_page(place.bank, shown)))
