from .choosing import CHOICES as CHOICES
from .choosing import choose as choose
