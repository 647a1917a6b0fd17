"""The visitor's own: what the frame of every page shows of them, the basket, and the checkout."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from shop.basket import Basket, BasketFullError, total_of
from shop.forms import BasketLineForm, CheckoutForm, QuantityForm
from shop.models import Book
from shop.ordering import OutOfStockError, new_number, place_order

NUMBER_KEY = "order_number"


@never_cache
@require_safe
def me(request: HttpRequest) -> JsonResponse:
    """Who is here, and how many books lie in the basket."""
    name = request.user.get_short_name() or request.user.get_username() if request.user.is_authenticated else ""
    return JsonResponse({"name": name, "basket": len(Basket(request.session))})


@never_cache
@require_safe
def token(request: HttpRequest) -> JsonResponse:
    """The CSRF token, for the forms of public pages: those pages are the same for everybody and hold none."""
    return JsonResponse({"token": get_token(request)})


@never_cache
@require_safe
def basket(request: HttpRequest) -> HttpResponse:
    lines = Basket(request.session).lines()
    return render(
        request,
        "shop/basket.html",
        {"lines": lines, "total": total_of(lines), "missing": any(line.missing for line in lines)},
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest, slug: str) -> HttpResponse:
    """Put a book into the basket. A GET shows a form that does so: that is where public pages lead without scripts."""
    book = get_object_or_404(Book.objects.for_cards(), slug=slug)
    wants_json = request.accepts("application/json") and not request.accepts("text/html")
    form = QuantityForm(request.POST if request.method == "POST" else request.GET or None)
    if request.method != "POST" or not form.is_valid():
        if wants_json:
            return JsonResponse({"error": form.errors.get("quantity", ["Send a quantity."])[0]}, status=400)
        status = 400 if request.method == "POST" else 200
        return render(request, "shop/basket_add.html", {"book": book, "form": form}, status=status)
    own = Basket(request.session)
    try:
        quantity = own.add(book, form.cleaned_data["quantity"])
    except BasketFullError as error:
        if wants_json:
            return JsonResponse({"error": str(error)}, status=400)
        messages.error(request, str(error))
        return redirect("basket")
    text = f"“{book.title}” is in your basket" + (f", {quantity} copies." if quantity > 1 else ".")
    if wants_json:
        return JsonResponse({"basket": len(own), "text": text})
    messages.success(request, text)
    return redirect("basket")


@require_POST
def change(request: HttpRequest) -> HttpResponse:
    """Set how many of one book the basket holds."""
    form = BasketLineForm(request.POST)
    if form.is_valid():
        found = get_object_or_404(Book, pk=form.cleaned_data["book"])
        try:
            Basket(request.session).set(found, form.cleaned_data["quantity"])
        except BasketFullError as error:
            messages.error(request, str(error))
    else:
        messages.error(request, " ".join(text for texts in form.errors.values() for text in map(str, texts)))
    return redirect("basket")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def checkout(request: HttpRequest) -> HttpResponse:
    assert request.user.is_authenticated
    own = Basket(request.session)
    lines = own.lines()
    if not lines:
        messages.info(request, "Your basket is empty.")
        return redirect("basket")
    # The number is the visitor's before the order exists: a form that is sent twice finds the order it made.
    number = request.session.setdefault(NUMBER_KEY, new_number())
    initial = {"name": request.user.get_full_name(), "email": request.user.email}
    form = CheckoutForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            order = place_order(number, request.user, lines, form.cleaned_data)
        except OutOfStockError as error:
            messages.error(request, f"{error} Please change your basket.")
            return redirect("basket")
        own.clear()
        request.session.pop(NUMBER_KEY, None)
        messages.success(request, "Thank you. Your books are on their way.")
        return redirect(order)
    status = 400 if request.method == "POST" else 200
    context = {"form": form, "lines": lines, "total": total_of(lines)}
    return render(request, "shop/checkout.html", context, status=status)
