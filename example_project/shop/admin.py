"""The shop in Django's admin: the catalogue with its stock, and the orders, which are read rather than written."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from . import covers
from .caching import changed
from .models import Author, Book, Category, Order, OrderLine, Publisher, Review

admin.site.site_header = "Twelve Threads"
admin.site.site_title = "Twelve Threads"
admin.site.index_title = "The bookshop"


class _CountsBooks(admin.ModelAdmin):
    """A list with a column that counts each row's books."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).annotate(number_of_books=Count("books"))

    @admin.display(description="books", ordering="number_of_books")
    def book_count(self, row: Any) -> int:
        number: int = row.number_of_books
        return number


@admin.register(Category)
class CategoryAdmin(_CountsBooks):
    list_display = ("name", "position", "book_count", "description")
    list_editable = ("position",)
    prepopulated_fields = {"slug": ("name",)}


@admin.register(Publisher)
class PublisherAdmin(_CountsBooks):
    list_display = ("name", "city", "book_count")
    list_filter = ("city",)
    search_fields = ("name",)


@admin.register(Author)
class AuthorAdmin(_CountsBooks):
    list_display = ("name", "home", "born", "book_count")
    search_fields = ("name",)
    prepopulated_fields = {"slug": ("name",)}


class StockFilter(admin.SimpleListFilter):
    title = "stock"
    parameter_name = "stock"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("none", "Sold out"), ("low", "3 or fewer"), ("some", "More")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Book]) -> QuerySet[Book]:
        ranges: dict[str, dict[str, Any]] = {
            "none": {"stock": 0},
            "low": {"stock__range": (1, 3)},
            "some": {"stock__gt": 3},
        }
        return queryset.filter(**ranges.get(self.value() or "", {}))


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ("title", "author", "category", "format", "price", "stock", "rating", "published")
    list_editable = ("stock",)
    list_filter = (StockFilter, "category", "format", "language")
    list_select_related = ("author", "category")
    list_per_page = 50
    search_fields = ("title", "author__name", "isbn")
    search_help_text = "Title, author or ISBN"
    date_hierarchy = "published"
    ordering = ("-published", "-pk")
    autocomplete_fields = ("author", "publisher")
    prepopulated_fields = {"slug": ("title",)}
    readonly_fields = ("cover", "rating", "rating_count")
    fieldsets = (
        (None, {"fields": ("title", "subtitle", "slug", "author", "category", "description", "cover")}),
        ("Edition", {"fields": ("isbn", "publisher", "published", "format", "language", "pages")}),
        ("Sale", {"fields": ("price", "stock", "rating", "rating_count")}),
    )
    actions = ("mark_sold_out",)

    @admin.display(description="cover")
    def cover(self, book: Book) -> SafeString | str:
        if not book.pk:
            return "Drawn from the title and the author."
        svg = covers.cover(book.title, book.author.name)
        return format_html(
            '<svg width="120" height="180" viewBox="0 0 {} {}">{}</svg>', covers.WIDTH, covers.HEIGHT, svg
        )

    @admin.action(description="Mark as sold out", permissions=["change"])
    def mark_sold_out(self, request: HttpRequest, queryset: QuerySet[Book]) -> None:
        sold_out = list(queryset.values_list("pk", flat=True))
        self.message_user(request, f"{queryset.update(stock=0)} books are marked as sold out.")
        changed(sold_out)


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ("title", "rating", "book", "name", "written")
    list_filter = ("rating",)
    list_select_related = ("book",)
    search_fields = ("title", "text", "book__title")
    date_hierarchy = "written"
    raw_id_fields = ("book", "user")
    # Each review is deleted by itself, so that the rating of its book follows.
    show_full_result_count = False


class OrderLineInline(admin.TabularInline):
    model = OrderLine
    extra = 0
    can_delete = False
    fields = readonly_fields = ("title", "quantity", "unit_price", "total")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ("number", "placed", "name", "city", "lines_count", "total", "status")
    list_editable = ("status",)
    list_filter = ("status", "placed")
    search_fields = ("number", "name", "email")
    date_hierarchy = "placed"
    readonly_fields = ("number", "user", "total", "placed")
    inlines = (OrderLineInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return super().get_queryset(request).annotate(number_of_lines=Count("lines"))

    @admin.display(description="titles", ordering="number_of_lines")
    def lines_count(self, order: Any) -> int:
        number: int = order.number_of_lines
        return number

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Orders come from the shop: only there are books taken out of stock."""
        return False
