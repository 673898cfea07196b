"""The verbs about batch jobs: `hvd-train submit` and `hvd-train jobs`."""
