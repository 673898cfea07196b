// A barrier for the processes of one host, in memory that they share. Who waits polls for a moment, and then sleeps.
//
// A process that has ended never comes: its peers would wait for ever, if whoever started them is gone as well. So a
// waiting process asks once a second whether all others live, and leaves with PeerEnded if one does not. It first waits for
// a while to be ended itself: mpirun does that within seconds, and then the message that counts stands alone, that of the
// process which failed.

#ifndef HVD_TRAIN_HOST_BARRIER_H
#define HVD_TRAIN_HOST_BARRIER_H

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace horovod {
namespace common {

class PeerEnded : public std::runtime_error {
public:
  explicit PeerEnded(int rank)
      : std::runtime_error("The process of rank " + std::to_string(rank) +
                           " has ended, and this rank waits for it in shared memory. Look for that rank's own message.") {}
};

class HostBarrier {
public:
  // In the shared memory. It begins as zeros.
  struct alignas(64) State {
    std::atomic<uint32_t> arrived;
    std::atomic<uint32_t> opened;
    std::atomic<uint32_t> sleepers;
  };
  // A lock would lie in one process's memory.
  static_assert(ATOMIC_INT_LOCK_FREE == 2, "the processes of a host share these numbers");
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t), "the kernel waits for a plain number");

  // `ended` returns a rank whose process has ended, or -1. It is called after each second of a wait, and the wait is left
  // when it has named one `patience` times.
  HostBarrier(State* state, int size, std::chrono::microseconds polls_for, int patience, std::function<int()> ended)
      : state_(*state), size_(size), polls_for_(polls_for), patience_(patience), ended_(std::move(ended)) {}

  // Returns when all have called it. What each has written before, all can read after it. Throws PeerEnded, and then each
  // time.
  void Wait();

private:
  void WaitUntilOpened(uint32_t before);
  void SleepUntilOpened(uint32_t before);

  State& state_;
  const uint32_t size_;
  const std::chrono::microseconds polls_for_;
  const int patience_;
  const std::function<int()> ended_;
  int has_ended_ = -1;
};

} // namespace common
} // namespace horovod

#endif // HVD_TRAIN_HOST_BARRIER_H
