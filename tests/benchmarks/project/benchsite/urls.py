"""The pages that are measured."""

from __future__ import annotations

from django.urls import path

from benchsite import views

urlpatterns = [
    path("small", views.small, name="small"),
    path("block", views.block, name="block"),
    path("sleep", views.sleep, name="sleep"),
    path("burn", views.burn, name="burn"),
    path("books", views.books, name="books"),
    path("books/<int:pk>", views.book, name="book"),
]
