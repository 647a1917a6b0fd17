"""A serializer for a Redis alias that the page cache has to itself, in place of pickle. For OPTIONS, by dotted path."""

from __future__ import annotations


class RawBytes:
    """Bytes as they are, for django-redis (`OPTIONS["SERIALIZER"]`) and Django's own (`OPTIONS["serializer"]`).

    What the page cache stores is its own envelope, which the default serializers would wrap in a pickle, and unpickle
    when it is read. Whole numbers are let through, for counters."""

    def __init__(self, options: object = None) -> None:
        """django-redis gives its OPTIONS; Django's own backend gives nothing."""

    def dumps(self, value: object) -> bytes | int:
        """Raises TypeError for anything else than bytes and whole numbers."""
        if isinstance(value, bytes) or type(value) is int:
            return value
        raise TypeError(
            f"a {type(value).__name__} cannot be kept with the serializer django_wsgiperf.cache.serializers.RawBytes, "
            "which takes bytes alone; give the page cache an alias of CACHES of its own"
        )

    def loads(self, value: bytes) -> bytes | int:
        """The bytes, or the number that they write."""
        try:
            return int(value) if value[:1] in b"-0123456789" else value
        except ValueError:
            return value
