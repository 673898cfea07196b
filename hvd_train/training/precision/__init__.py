"""The numbers that training computes in: bfloat16 or float32, the choice between them, and the float32 copy that is saved."""
