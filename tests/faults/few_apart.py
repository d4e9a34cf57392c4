"""A module that leaves a worker few processes for suspects, so that a few of them have to share one."""

import os

from asyncjobs.worker.job_processes import suspect_groups

VARIABLE = "ASYNCJOBS_TEST_FEW_APART"
"""Set where it is to be so: whoever runs process jobs beside these tests imports this module, too."""

MOST = 8

if VARIABLE in os.environ:
    suspect_groups.MOST_APART = MOST
