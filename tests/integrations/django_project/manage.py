"""The command of the project."""

import os

from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.integrations.django_project.settings"
execute_from_command_line()
