from __future__ import annotations

from django.db import models


class Order(models.Model):
    note = models.TextField()

    def __str__(self) -> str:
        return self.note
