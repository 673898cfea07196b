"""Between hosts: measured latency and bandwidth, a cost model of a step, and its prediction for more hosts and other links."""
