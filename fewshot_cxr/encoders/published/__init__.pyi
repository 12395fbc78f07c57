from .lite0 import LITE0_SPEC as LITE0_SPEC
from .lite0 import efficientnet_lite0 as efficientnet_lite0
