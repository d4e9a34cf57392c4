"""The private PostgreSQL of development, the demo and tests; never for production.

Only *binaries* are taken from a wheel or the distribution; everything that runs them is ours.
"""

from asyncjobs.embedded.directories import project_directory
from asyncjobs.embedded.errors import NoPostgres
from asyncjobs.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "NoPostgres", "project_directory"]
