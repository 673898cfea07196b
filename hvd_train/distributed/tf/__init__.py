"""What the engine tensorflow is made of: collectives of TensorFlow, how its ranks meet, and what trains over all of them."""
