"""The project's manage.py: `python manage.py serve` is the cache that the suite is run against."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "passing.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
