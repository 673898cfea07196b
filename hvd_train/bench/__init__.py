"""`hvd-train bench`: how fast a recipe trains here, on how many ranks, and where the time goes.

jobs.py starts the measured processes and ends them; rank_program.py and bandwidth.py run inside them, one per rank;
session.py decides what is run in which order; figures.py makes numbers of their answers (pure), presentation.py tables and
pictures. What is compared runs interleaved in one session: machines are faster in one hour than in another.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
