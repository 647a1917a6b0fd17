"""The tables that the metrics' store in a database uses, and the model that the admin page hangs on.

Payloads are bytes of metrics/payload.py; nothing here knows what is in them. Times are unix seconds.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Dashboard(models.Model):
    """No table: an entry in the admin's index with permissions of its own."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (
            ("view_dashboard", "Can view the performance pages"),
            ("manage_dashboard", "Can interrupt requests and purge the response cache"),
        )
        verbose_name = _("performance")
        verbose_name_plural = _("performance")

    def __str__(self) -> str:
        return str(self._meta.verbose_name)


class Bucket(models.Model):
    """The sums of one span of time: of one process (level 0, a minute), or of a host (a minute and longer).

    Columns that are read most often come first, since databases skip the long ones behind them."""

    level = models.PositiveIntegerField()
    """0: a process's minute, written by that process alone; else the seconds that the row spans."""
    start = models.BigIntegerField()
    owner = models.CharField(max_length=200)
    """The process of level 0, the host of the others."""
    host = models.CharField(max_length=120)
    rolled = models.BooleanField(default=False)
    """What is in it has been added to the next level. Of level 0 then only this is left, to say so."""
    closed = models.BooleanField(default=False)
    """Of level 0: its process writes it no more."""
    version = models.PositiveIntegerField(default=0)
    """Goes up with each writing: who changes a row says what it has read."""
    summary = models.BinaryField(default=b"")
    detail = models.BinaryField(default=b"")
    samples = models.BinaryField(default=b"")

    class Meta:
        db_table = "wsgiperf_bucket"
        default_permissions = ()
        # Not a UniqueConstraint: making one translates, before it is known whether LANGUAGE_CODE is right.
        unique_together = (("level", "start", "owner"),)
        indexes = (models.Index(fields=["rolled", "level", "start"], name="wsgiperf_bucket_open"),)

    def __str__(self) -> str:
        return f"{self.owner} {self.level} {self.start}"


class Process(models.Model):
    """The last report of a process that lives, or did lately."""

    instance = models.CharField(max_length=200, primary_key=True)
    host = models.CharField(max_length=120)
    seen = models.BigIntegerField(db_index=True)
    report = models.BinaryField(default=b"")

    class Meta:
        db_table = "wsgiperf_process"
        default_permissions = ()

    def __str__(self) -> str:
        return self.instance


class Lease(models.Model):
    """Who does what only one process is to do."""

    name = models.CharField(max_length=50, primary_key=True)
    owner = models.CharField(max_length=200)
    until = models.BigIntegerField()

    class Meta:
        db_table = "wsgiperf_lease"
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
