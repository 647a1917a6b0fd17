"""A customer's account: registering, orders and reviews. Logging in and out are Django's own views."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from shop.forms import RegistrationForm, ReviewForm
from shop.models import Book, Order, Review


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def register(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect("account")
    form = RegistrationForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        messages.success(request, "Welcome. Your account is ready.")
        return redirect("account")
    return render(request, "shop/register.html", {"form": form}, status=400 if form.errors else 200)


@never_cache
@login_required
@require_safe
def account(request: HttpRequest) -> HttpResponse:
    assert request.user.is_authenticated
    orders = Order.objects.filter(user=request.user).prefetch_related("lines__book__author")[:50]
    return render(request, "shop/account.html", {"orders": orders})


@never_cache
@login_required
@require_safe
def order(request: HttpRequest, number: str) -> HttpResponse:
    assert request.user.is_authenticated
    own = Order.objects.filter(user=request.user).prefetch_related("lines__book__author")
    return render(request, "shop/order.html", {"order": get_object_or_404(own, number=number)})


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def review(request: HttpRequest, slug: str) -> HttpResponse:
    """Write a review, or change one's own: each reader has one for each book."""
    assert request.user.is_authenticated
    book = get_object_or_404(Book.objects.select_related("author"), slug=slug)
    own = Review.objects.filter(book=book, user=request.user).first()
    form = ReviewForm(request.POST if request.method == "POST" else None, instance=own or Review(book=book))
    if request.method == "POST" and form.is_valid():
        written = form.save(commit=False)
        written.user = request.user
        written.name = request.user.get_short_name() or request.user.get_username()
        written.written = timezone.now()
        written.save()
        return redirect(book)
    context = {"book": book, "form": form, "own": own}
    return render(request, "shop/review.html", context, status=400 if form.errors else 200)
