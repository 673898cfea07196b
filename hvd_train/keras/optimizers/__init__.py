"""Distributed optimizers and the gradient tape: gradients averaged over ranks, aggregated, and updates sharded."""
