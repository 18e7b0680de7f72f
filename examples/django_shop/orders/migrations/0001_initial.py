"""Make the table of the orders."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = (
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("email", models.EmailField(max_length=254)),
                ("item", models.CharField(max_length=100)),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("task_id", models.CharField(default="", max_length=64)),
            ],
        ),
    )
