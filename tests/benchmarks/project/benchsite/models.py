"""A small catalogue, so that the database page joins, counts and prefetches as real pages do."""

from __future__ import annotations

from django.db import models


class Shelf(models.Model):
    name = models.CharField(max_length=60)

    def __str__(self) -> str:
        return self.name


class Author(models.Model):
    name = models.CharField(max_length=120)
    born = models.DateField()

    def __str__(self) -> str:
        return self.name


class Subject(models.Model):
    name = models.CharField(max_length=60)

    def __str__(self) -> str:
        return self.name


class Book(models.Model):
    title = models.CharField(max_length=200)
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")
    shelf = models.ForeignKey(Shelf, on_delete=models.CASCADE, related_name="books")
    subjects = models.ManyToManyField(Subject, related_name="books")
    published = models.DateField(db_index=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stars = models.FloatField()
    reviews_count = models.PositiveIntegerField()
    description = models.TextField()

    def __str__(self) -> str:
        return self.title
