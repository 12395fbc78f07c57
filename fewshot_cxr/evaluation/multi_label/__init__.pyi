from .answers import Answers as Answers
from .evaluate import evaluate_multi_label as evaluate_multi_label
from .result import FilmAnswer as FilmAnswer
from .result import FindingScores as FindingScores
from .result import MultiLabelResult as MultiLabelResult
