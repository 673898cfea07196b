"""`hvd-train bench`: how fast a recipe trains here, on how many ranks, and where the time goes.

jobs.py starts the measured processes and ends them; trial.py and bandwidth.py run inside them, one per rank;
session.py decides what is run in which order; figures.py makes numbers of their answers (pure), show.py tables and
pictures. Everything that is compared is run by turns in one session: machines are faster in one hour than in another.
"""
