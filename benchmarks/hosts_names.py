"""What hosts.py calls the programs that it measures. By itself, so that tables need no more than this."""

BEFORE = "before"
NAMES = {
    "ours": "hvd_train",
    "two-levels": "hvd_train, two levels",
    "overlap": "hvd_train, two levels, 2 groups",
    "bfloat16": "hvd_train, two levels, 2 groups, bfloat16 between hosts",
    "flat": "hvd_train, one flat MPI allreduce",
    BEFORE: "hvd_train before 2026-11-28",
    "ddp": "PyTorch DDP, gloo",
    "stock": "stock Horovod, TF 2.15",
}
