from .choosing import CHOICES as CHOICES
from .choosing import choose as choose
from .coverage import coverage_interval as coverage_interval
from .coverage import patients_needed as patients_needed
