"""The shop's URLs, by the module of their views."""

from __future__ import annotations

from django.contrib.auth import views as auth_views
from django.contrib.sitemaps.views import sitemap
from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import path
from django.views.decorators.http import require_safe

from .sitemaps import SITEMAPS
from .views import accounts, api, baskets, files, live, pages


@require_safe
def favicon(request: HttpRequest) -> HttpResponseRedirect:
    return HttpResponseRedirect(staticfiles_storage.url("shop/favicon.svg"))


urlpatterns = [
    path("", pages.home, name="home"),
    path("books/", pages.catalogue, name="catalogue"),
    path("books/<slug:slug>/", pages.book, name="book"),
    path("books/<slug:slug>/cover.svg", pages.cover, name="cover"),
    path("books/<slug:slug>/supplier/", pages.supplier, name="supplier"),
    path("authors/<slug:slug>/", pages.author, name="author"),
    path("categories/<slug:slug>/", pages.category, name="category"),
    path("search/", pages.search, name="search"),
    path("robots.txt", pages.robots, name="robots"),
    path("sitemap.xml", sitemap, {"sitemaps": SITEMAPS}, name="sitemap"),
    path("favicon.ico", favicon),
    path("me/", baskets.me, name="me"),
    path("me/token/", baskets.token, name="token"),
    path("basket/", baskets.basket, name="basket"),
    path("basket/add/<slug:slug>/", baskets.add, name="basket-add"),
    path("basket/change/", baskets.change, name="basket-change"),
    path("checkout/", baskets.checkout, name="checkout"),
    path("books/<slug:slug>/review/", accounts.review, name="review"),
    path("account/", accounts.account, name="account"),
    path("account/register/", accounts.register, name="register"),
    path("account/orders/<slug:number>/", accounts.order, name="order"),
    path(
        "account/login/",
        auth_views.LoginView.as_view(template_name="shop/login.html", redirect_authenticated_user=True),
        name="login",
    ),
    path("account/logout/", auth_views.LogoutView.as_view(), name="logout"),
    path("live/", live.live, name="live"),
    path("live/events/", live.stream, name="events"),
    path("catalogue.csv", files.download, name="download"),
    path("catalogue-now.csv", files.export, name="export"),
    path("stock/upload/", files.upload_stock, name="upload-stock"),
    path("api/books/", api.books, name="api-books"),
    path("api/books/<int:isbn>/", api.book, name="api-book"),
    path("api/books/<int:isbn>/stock/", api.stock, name="api-stock"),
    path("api/summary/", live.summary, name="api-summary"),
]
