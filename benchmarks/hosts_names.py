"""What hosts.py calls the programs that it measures. By itself, so that tables need no more than this."""

BEFORE, CHOSEN = "before", "chosen"
NAMES = {
    "chosen": "hvd_train",
    "one-group": "hvd_train, one group",
    "ours": "hvd_train, 2 groups",
    "bfloat16": "hvd_train, 2 groups, bfloat16 between hosts",
    "flat": "hvd_train, one flat MPI allreduce",
    "mpi-eager": "eager messages up to 1 MiB",
    "mpi-links": "two TCP connections for each pair of ranks",
    "mpi-buffers": "socket buffers of 4 MiB",
    "mpi-ring": "ring",
    "mpi-rabenseifner": "Rabenseifner",
    "mpi-han": "coll/han",
    "mpi-han-segments": "coll/han, segments of 1 MiB",
    BEFORE: "hvd_train before 2026-11-28",
    "ddp": "PyTorch DDP, gloo",
    "stock": "stock Horovod, TF 2.15",
}
