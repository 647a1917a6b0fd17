"""A change of a table with rows in it, with a function in the middle: SQLite makes the table anew, without its keys."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def fill(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.alias == "default":
        thing = apps.get_model("project", "Thing").objects.create(name="migrated")
        apps.get_model("project", "Part").objects.create(thing=thing)


def empty(apps: Any, schema_editor: Any) -> None:
    if schema_editor.connection.alias == "default":
        apps.get_model("project", "Thing").objects.filter(name="migrated").delete()


class Migration(migrations.Migration):
    # PostgreSQL changes no table that has events of the same transaction still to come.
    atomic = False
    dependencies = (("project", "0001_initial"),)
    operations = (
        migrations.RunPython(fill, empty),
        migrations.AddField("Thing", "stock", models.IntegerField(default=0)),
        migrations.AlterField("Thing", "name", models.CharField(max_length=40, unique=True)),
    )
