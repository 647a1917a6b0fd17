"""The app as Django sees it. Starting it registers the system checks, gives requests their `wsgiperf`, and puts the
hooks of the request timing in place where the project has its middleware."""

from __future__ import annotations

from django.apps import AppConfig


class WsgiperfConfig(AppConfig):
    name = "django_wsgiperf"
    verbose_name = "django-wsgiperf"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_wsgiperf import checks, request_state
        from django_wsgiperf.cache import annotations
        from django_wsgiperf.metrics import exports, instruments

        checks.register()
        annotations.register()
        exports.register()
        request_state.install()
        instruments.install_if_wanted()
