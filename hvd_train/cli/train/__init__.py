"""What `hvd-train train` does instead of training: `--print-config` and `--dry-run`."""
