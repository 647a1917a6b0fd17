"""The addresses of all public pages: for search engines, and for `manage.py wsgiperf warm`."""

from __future__ import annotations

from django.contrib.sitemaps import Sitemap
from django.db.models import QuerySet
from django.urls import reverse

from .models import Author, Book, Category


class Lists(Sitemap):
    def items(self) -> list[str]:
        return ["home", "catalogue"]

    def location(self, item: str) -> str:
        return reverse(item)


class Books(Sitemap):
    def items(self) -> QuerySet[Book]:
        return Book.objects.only("slug").order_by("pk")


class Authors(Sitemap):
    def items(self) -> QuerySet[Author]:
        return Author.objects.only("slug").order_by("pk")


class Categories(Sitemap):
    def items(self) -> QuerySet[Category]:
        return Category.objects.only("slug").order_by("pk")


SITEMAPS = {"lists": Lists, "books": Books, "authors": Authors, "categories": Categories}
