"""A small Django project, whose database the tests name in the environment."""

import os

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("SHOP_NAME"),
        "USER": os.environ.get("SHOP_USER"),
        "HOST": os.environ.get("SHOP_HOST"),
        "PORT": os.environ.get("SHOP_PORT"),
        "OPTIONS": {"application_name": "shop"},
    }
}
INSTALLED_APPS = ["asyncjobs.integrations.django", "tests.integrations.django_project.shop"]
TASKS = {"default": {"BACKEND": "asyncjobs.integrations.django.Backend", "QUEUES": ["default", "mails"]}}
SECRET_KEY = "of tests"
USE_TZ = True
