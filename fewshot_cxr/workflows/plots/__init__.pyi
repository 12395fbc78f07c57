from .inputs import PlotInputs as PlotInputs
from .inputs import PlotOptions as PlotOptions
from .inputs import read_history as read_history
from .inputs import read_result as read_result
from .table import PLOTS as PLOTS
from .table import PlotKind as PlotKind
