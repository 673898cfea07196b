from . import jobs as jobs
from . import launch as launch
from . import supervise as supervise
from .submit.preparation import ParsedRun as ParsedRun
from .submit.preparation import Ready as Ready
from .submit.preparation import prepare_job as prepare_job
from .submit.queue import Submitted as Submitted
from .submit.queue import follow_up as follow_up
from .submit.settings import Settings as Settings
from .submit.settings import of_site as of_site
from .submit.settings import site_files as site_files
from .submit.spec import JOB as JOB
from .submit.spec import JobSpec as JobSpec
from .submit.spec import Verb as Verb
from .submit.sweep import read_sweep as read_sweep

__all__ = [
    "JOB",
    "JobSpec",
    "ParsedRun",
    "Ready",
    "Settings",
    "Submitted",
    "Verb",
    "follow_up",
    "jobs",
    "launch",
    "of_site",
    "prepare_job",
    "read_sweep",
    "site_files",
    "supervise",
]
