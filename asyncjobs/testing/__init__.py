"""The pytest plugin, which installs itself: tests of jobs on a real PostgreSQL.

Its fixtures are `jobs` (in async tests), `jobs_sync` (the same names without ``await``) and `asyncjobs_database_url`. This
package imports no pytest; the names below are for annotations::

    from asyncjobs.testing import Jobs

    async def test_signup(jobs: Jobs) -> None: ...
"""

from __future__ import annotations

from asyncjobs.testing.jobs import Jobs
from asyncjobs.testing.jobs_sync import JobsSync

__all__ = ["Jobs", "JobsSync"]
