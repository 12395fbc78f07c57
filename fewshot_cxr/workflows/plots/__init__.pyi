from .inputs import PlotInputs as PlotInputs
from .inputs import PlotOptions as PlotOptions
from .table import PLOTS as PLOTS
from .table import PlotKind as PlotKind
