"""The app as Django sees it. Starting it registers the system checks, and puts the hooks of the request timing in
place where the project has its middleware."""

from __future__ import annotations

from django.apps import AppConfig


class WsgiperfConfig(AppConfig):
    name = "django_wsgiperf"
    verbose_name = "django-wsgiperf"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_wsgiperf import checks
        from django_wsgiperf.metrics import instruments

        checks.register()
        instruments.install_if_wanted()
