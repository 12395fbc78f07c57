from .lite0 import LITE0_SPEC as LITE0_SPEC
from .lite0 import efficientnet_lite0 as efficientnet_lite0
from .models import PUBLISHED as PUBLISHED
from .models import Published as Published
from .models import published_encoder as published_encoder
from .names import named_by_timm as named_by_timm
