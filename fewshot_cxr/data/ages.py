"""The age of a patient as headers and tables write it."""

import math
import re

_AGE = re.compile(r"0*(\d{1,4})(?:[.,](\d+))? *(Y|YR|YRS|YEAR|YEARS|YO|Y/O|A|J|M|MO|MONTHS?|W|WEEKS?|D|DAYS?|)")
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_OLDEST = 120


def years_of(text: str) -> float | None:
    """Return an age in years, 0 to 120; a number alone is years, as it stands; None of what is no age.

    Source: DICOM PS3.5, 6.2, the value representation AS: three digits and D, W, M or Y. Machines write others.
    """
    text = text.strip().upper()
    try:
        years = float(text)
    except ValueError:
        found = _AGE.fullmatch(text)
        if not found:
            return None
        unit = {"A": "Y", "J": "Y"}.get(found[3][:1], found[3][:1]) or "Y"
        years = round(float(f"{found[1]}.{found[2] or 0}") * _YEARS[unit], 3)
    return years if math.isfinite(years) and 0 <= years <= _OLDEST else None
