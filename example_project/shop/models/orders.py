"""What was sold: an order and its lines. Prices and titles are copied, so that an old order never changes.

Orders are written by `shop/ordering.py` alone.
"""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from .catalogue import Book


class Order(models.Model):
    class Status(models.TextChoices):
        PLACED = "placed", "Placed"
        PACKED = "packed", "Packed"
        SENT = "sent", "Sent"
        CANCELLED = "cancelled", "Cancelled"

    # Chosen before the order is written, so that sending the same form twice cannot order twice.
    number = models.CharField(max_length=16, unique=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="orders"
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PLACED)
    name = models.CharField(max_length=120)
    email = models.EmailField()
    street = models.CharField(max_length=160)
    city = models.CharField(max_length=80)
    postcode = models.CharField(max_length=12)
    total = models.DecimalField(max_digits=9, decimal_places=2)
    placed = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ("-placed", "-pk")

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("order", args=[self.number])


class OrderLine(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    book = models.ForeignKey(Book, on_delete=models.PROTECT, related_name="order_lines")
    title = models.CharField(max_length=160)
    unit_price = models.DecimalField(max_digits=6, decimal_places=2)
    quantity = models.PositiveSmallIntegerField(validators=[MinValueValidator(1)])

    class Meta:
        ordering = ("pk",)
        constraints = (models.CheckConstraint(condition=Q(quantity__gte=1), name="order_line_quantity_above_zero"),)

    def __str__(self) -> str:
        return f"{self.quantity} x {self.title}"

    @property
    def total(self) -> Decimal:
        return self.unit_price * self.quantity
