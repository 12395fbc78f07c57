from .calibrating import calibrate_on_films as calibrate_on_films
from .calibrating import calibrate_on_support as calibrate_on_support
from .calibrating import check_patients_apart as check_patients_apart
from .calibration import Calibration as Calibration
from .choosing import CHOICES as CHOICES
from .choosing import choose as choose
from .coverage import coverage_interval as coverage_interval
from .coverage import patients_needed as patients_needed
