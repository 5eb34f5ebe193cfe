"""A date of HTTP as seconds since 1970.

Source: RFC 9110 section 5.6.7. A recipient has to read three forms: the one that is sent today, and the two of old.
"""

from __future__ import annotations

import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_DAYS_BEFORE_1970 = 719_162
_TIME = r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)"
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        rf"[a-z]{{3}}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
        rf"[a-z]{{6,9}}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",  # RFC 850
        rf"[a-z]{{3}} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})",  # asctime
    )
)


def read_http_date(text: str) -> int | None:
    """Seconds since 1970-01-01 UTC, negative before; None for what is no date."""
    for form in _FORMS:
        if match := form.fullmatch(text):
            day, year = int(match["day"]), _year(match["year"])
            if not 1 <= day <= 31 or year == 0:
                return None
            days = _days(year, _MONTHS.index(match["month"].lower()), day)
            return ((days * 24 + int(match["hour"])) * 60 + int(match["minute"])) * 60 + int(match["second"])
    return None


def _year(digits: str) -> int:
    """Four digits as they are; two as POSIX reads them: 69 to 99 are of the last century."""
    year = int(digits)
    if len(digits) == 4:
        return year
    return year + (1900 if year >= 69 else 2000)


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01; `month` counts from 0."""
    past = year - 1
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    before_year = past * 365 + past // 4 - past // 100 + past // 400
    return before_year + _DAYS_BEFORE_MONTH[month] + (is_leap and month > 1) + day - 1 - _DAYS_BEFORE_1970
