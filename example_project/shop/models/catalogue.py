"""What is for sale: categories, publishers, authors, books, and what readers said of them.

A book carries the mean and the number of its reviews, so that lists need not count; `Book.refresh_rating`
keeps them, and `shop/signals.py` calls it. Orders are in `orders.py`; lists and filters in `shop/browse.py`.
"""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Avg, Count, Q
from django.urls import reverse


class Category(models.Model):
    """A shelf of the shop."""

    name = models.CharField(max_length=60, unique=True)
    slug = models.SlugField(max_length=60, unique=True)
    description = models.CharField(max_length=200)
    position = models.PositiveSmallIntegerField(default=0, help_text="Lower numbers come first.")

    class Meta:
        ordering = ("position", "name")
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("category", args=[self.slug])


class Publisher(models.Model):
    name = models.CharField(max_length=120, unique=True)
    city = models.CharField(max_length=80)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Author(models.Model):
    name = models.CharField(max_length=120, db_index=True)
    slug = models.SlugField(max_length=140, unique=True)
    born = models.PositiveSmallIntegerField("year of birth", null=True, blank=True)
    home = models.CharField("lives in", max_length=80, blank=True)
    biography = models.TextField(blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("author", args=[self.slug])


class BookQuerySet(models.QuerySet["Book"]):
    def for_cards(self) -> BookQuerySet:
        """What a list of covers shows of each book, and no more."""
        return self.select_related("author", "category").defer(
            "description", "author__biography", "category__description"
        )

    def available(self) -> BookQuerySet:
        return self.filter(stock__gt=0)

    def newest(self) -> BookQuerySet:
        return self.order_by("-published", "-pk")

    def best_rated(self) -> BookQuerySet:
        """Best first, among the books that more than a few readers have judged."""
        return self.filter(rating_count__gte=5).order_by("-rating", "-rating_count", "-pk")


class Book(models.Model):
    class Format(models.TextChoices):
        PAPERBACK = "paperback", "Paperback"
        HARDBACK = "hardback", "Hardback"
        EBOOK = "ebook", "E-book"
        AUDIOBOOK = "audiobook", "Audiobook"

    class Language(models.TextChoices):
        ENGLISH = "en", "English"
        FRENCH = "fr", "French"
        GERMAN = "de", "German"
        SPANISH = "es", "Spanish"
        WELSH = "cy", "Welsh"

    isbn = models.CharField(
        "ISBN", max_length=13, unique=True, validators=[RegexValidator(r"^97[89]\d{10}$", "Write the 13 digits.")]
    )
    title = models.CharField(max_length=160, db_index=True)
    subtitle = models.CharField(max_length=200, blank=True)
    slug = models.SlugField(max_length=180, unique=True)
    author = models.ForeignKey(Author, on_delete=models.PROTECT, related_name="books")
    publisher = models.ForeignKey(Publisher, on_delete=models.PROTECT, related_name="books")
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="books")
    format = models.CharField(max_length=10, choices=Format.choices, default=Format.PAPERBACK)
    language = models.CharField(max_length=2, choices=Language.choices, default=Language.ENGLISH)
    pages = models.PositiveSmallIntegerField()
    published = models.DateField()
    price = models.DecimalField(max_digits=6, decimal_places=2, validators=[MinValueValidator(Decimal("0.01"))])
    stock = models.PositiveIntegerField(default=0)
    description = models.TextField()
    rating = models.DecimalField(max_digits=3, decimal_places=2, default=Decimal(0), editable=False)
    rating_count = models.PositiveIntegerField(default=0, editable=False)

    objects = BookQuerySet.as_manager()

    class Meta:
        indexes = (
            models.Index(fields=["-published", "-id"], name="book_newest"),
            models.Index(fields=["-rating", "-rating_count"], name="book_best"),
            models.Index(fields=["category", "-published"], name="book_category_newest"),
            models.Index(fields=["price"], name="book_price"),
        )
        constraints = (models.CheckConstraint(condition=Q(price__gt=0), name="book_price_above_zero"),)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("book", args=[self.slug])

    @property
    def running_low(self) -> bool:
        return 0 < self.stock <= 3

    def refresh_rating(self) -> None:
        """Take the mean and the number of the reviews that exist now."""
        found = self.reviews.aggregate(mean=Avg("rating"), count=Count("pk"))
        self.rating = Decimal(str(round(found["mean"] or 0, 2)))
        self.rating_count = found["count"]
        self.save(update_fields=["rating", "rating_count"])


class Review(models.Model):
    book = models.ForeignKey(Book, on_delete=models.CASCADE, related_name="reviews")
    # Reviews that came with the catalogue have no user. SQL counts no two of these as equal.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="reviews"
    )
    name = models.CharField("shown as", max_length=80)
    rating = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(5)])
    title = models.CharField(max_length=120)
    text = models.TextField(max_length=4000)
    written = models.DateTimeField()

    class Meta:
        ordering = ("-written", "-pk")
        indexes = (models.Index(fields=["book", "-written"], name="review_book_newest"),)
        constraints = (
            models.UniqueConstraint(fields=["book", "user"], name="review_once_per_reader"),
            models.CheckConstraint(condition=Q(rating__gte=1, rating__lte=5), name="review_rating_1_to_5"),
        )

    def __str__(self) -> str:
        return f"{self.rating} of 5 for {self.book_id} by {self.name}"
