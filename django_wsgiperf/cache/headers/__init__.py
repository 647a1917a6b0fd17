"""Header fields to values and back: lists, Cache-Control, dates, entity tags, ranges, structured fields.

Every parser is total: any text gives a value and nothing raises. What cannot be understood is read in the way that
makes the cache do less: not fresh, not shared, not the same. Parsed texts are remembered, within a bound.
"""

from .dates import format_date, parse_date
from .directives import Directives, parse_cache_control, parse_targeted
from .etags import ANY_TAG, parse_etag, parse_etags, strong_match, weak_match
from .lists import field_names, parse_age, parse_vary, split_list
from .ranges import parse_range
from .structured import NoVarySearch, cache_status, parse_groups, parse_no_vary_search

__all__ = [
    "ANY_TAG",
    "Directives",
    "NoVarySearch",
    "cache_status",
    "field_names",
    "format_date",
    "parse_age",
    "parse_cache_control",
    "parse_date",
    "parse_etag",
    "parse_etags",
    "parse_groups",
    "parse_no_vary_search",
    "parse_range",
    "parse_targeted",
    "parse_vary",
    "split_list",
    "strong_match",
    "weak_match",
]
