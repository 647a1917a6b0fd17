"""The tables of the metrics, and the permissions of the admin page."""

# ruff: noqa: RUF012 - lists, as in every migration

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            name="Dashboard",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
            options={
                "verbose_name": "performance",
                "verbose_name_plural": "performance",
                "permissions": (
                    ("view_dashboard", "Can view the performance pages"),
                    ("manage_dashboard", "Can interrupt requests and purge the response cache"),
                ),
                "managed": False,
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Lease",
            fields=[
                ("name", models.CharField(max_length=50, primary_key=True, serialize=False)),
                ("owner", models.CharField(max_length=200)),
                ("until", models.BigIntegerField()),
            ],
            options={"db_table": "wsgiperf_lease", "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="Process",
            fields=[
                ("instance", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("host", models.CharField(max_length=120)),
                ("seen", models.BigIntegerField(db_index=True)),
                ("report", models.BinaryField(default=b"")),
            ],
            options={"db_table": "wsgiperf_process", "default_permissions": ()},
        ),
        migrations.CreateModel(
            name="Bucket",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("level", models.PositiveIntegerField()),
                ("start", models.BigIntegerField()),
                ("owner", models.CharField(max_length=200)),
                ("host", models.CharField(max_length=120)),
                ("rolled", models.BooleanField(default=False)),
                ("closed", models.BooleanField(default=False)),
                ("version", models.PositiveIntegerField(default=0)),
                ("summary", models.BinaryField(default=b"")),
                ("detail", models.BinaryField(default=b"")),
                ("samples", models.BinaryField(default=b"")),
            ],
            options={
                "db_table": "wsgiperf_bucket",
                "default_permissions": (),
                "indexes": [models.Index(fields=["rolled", "level", "start"], name="wsgiperf_bucket_open")],
                "unique_together": {("level", "start", "owner")},
            },
        ),
    ]
