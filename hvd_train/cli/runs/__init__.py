"""The verbs that look at runs: `hvd-train runs`, `hvd-train watch` and `hvd-train report`. None of them needs TensorFlow."""
