"""A thing, parts of it, and an entry of a log that is kept on another database."""

from __future__ import annotations

from django.db import models


class Thing(models.Model):
    """Something that is counted."""

    name = models.CharField(max_length=40, unique=True)
    stock = models.IntegerField(default=0)

    class Meta:
        app_label = "project"

    def __str__(self) -> str:
        return self.name


class Part(models.Model):
    """Ends with its thing."""

    thing = models.ForeignKey(Thing, models.CASCADE, related_name="parts")

    class Meta:
        app_label = "project"

    def __str__(self) -> str:
        return f"a part of {self.thing}"


class Entry(models.Model):
    """The router keeps these on `other`."""

    text = models.CharField(max_length=40)

    class Meta:
        app_label = "project"

    def __str__(self) -> str:
        return self.text
