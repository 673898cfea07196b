"""The batch jobs of the runs here: found by RUN/job, judged by the scheduler and by the files of the run.

The files are enough where the scheduler does not answer or keeps no accounts of ended jobs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
