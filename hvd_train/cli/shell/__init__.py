"""What `hvd-train` gives a shell: completion of its verbs and flags."""
