"""What an answer says of itself: in a table, as JSON, at a prompt, in a notebook. Programs read these names."""

from fewshot_cxr.inference import Exemplar
from fewshot_cxr.inference.bank import Answer
from fewshot_cxr.inference.bank.answer import COLUMNS

NEAR, FAR = Exemplar("bank/1.png", "covid19", 0.25), Exemplar("bank/2.png", "normal", 0.5)
ANSWER = Answer(
    path="new.png",
    finding="covid19",
    answer="abstained",
    reason="ambiguous",
    details="covid19 and normal fit",
    probabilities={"normal": 0.4, "covid19": 0.6},
    fitting=("covid19", "normal"),
    distances={"normal": 0.5, "covid19": 0.25},
    exemplars=(NEAR, FAR),
    positive=("covid19",),
    values={"covid19": (0.5, 0.9)},
    notes=("a note",),
)


def test_a_row_shows_the_nearest_exemplar_and_all_that_fits():
    assert dict(zip(COLUMNS, ANSWER.row(), strict=True)) == {
        "path": "new.png",
        "finding": "covid19",
        "answer": "abstained",
        "reason": "ambiguous",
        "probability": "0.600",
        "set": "covid19; normal",
        "nearest": "bank/1.png",
        "distance": "0.25",
    }


def test_json_holds_every_part_by_its_name():
    assert ANSWER.to_json() == {
        "path": "new.png",
        "finding": "covid19",
        "answer": "abstained",
        "reason": "ambiguous",
        "details": "covid19 and normal fit",
        "probabilities": {"normal": 0.4, "covid19": 0.6},
        "set": ["covid19", "normal"],
        "distances": {"normal": 0.5, "covid19": 0.25},
        "exemplars": [vars(NEAR), vars(FAR)],
        "positive": ["covid19"],
        "predictive_values": {"covid19": {"ppv": 0.5, "npv": 0.9}},
        "notes": ["a note"],
        "films": ["new.png"],
    }


def test_at_a_prompt_the_likeliest_stands_first():
    assert repr(ANSWER) == (
        "Answer(film: new.png; answer: abstained; reason: ambiguous: covid19 and normal fit; nearest finding: covid19; "
        "probability: covid19 0.60, normal 0.40; what fits: covid19, normal; distances: covid19 0.25, normal 0.5; "
        "covid19 at the prevalence: PPV 0.5, NPV 0.9; note: a note)"
    )


def test_a_notebook_shows_the_exemplars_nearest_first():
    page = ANSWER._repr_html_()
    assert "Nearest first" in page
    assert '<th style="text-align:left">exemplar</th><th>finding</th><th>distance</th>' in page
    assert page.index("bank/1.png") < page.index("bank/2.png")
