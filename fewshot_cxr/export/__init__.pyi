from .graph_rules import GRAPH_RULES as GRAPH_RULES
from .onnx import Exported as Exported
from .onnx import export_bank as export_bank
from .onnx import export_encoder as export_encoder
