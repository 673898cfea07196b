"""Around the ranks: hostfiles, the watchdog, stopping, the doctor. Nothing in here imports TensorFlow or Horovod."""
