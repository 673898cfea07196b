#include "host_barrier.h"

#include <cerrno>
#include <climits>
#include <ctime>

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace horovod {
namespace common {

namespace {

// Between two times that a polling process steps aside, for the thread of the input.
constexpr int POLLS = 64;

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Not the private operations: the word is in several processes. True if a second has passed.
bool Sleep(std::atomic<uint32_t>& word, uint32_t seen) {
  struct timespec limit = {1, 0};
  return syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT, seen, &limit, nullptr, 0) != 0 &&
         errno == ETIMEDOUT;
}

void WakeAll(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

} // namespace

void HostBarrier::Wait() {
  if (has_ended_ >= 0) { // who left a wait is counted in it still
    throw PeerEnded(has_ended_);
  }
  uint32_t before = state_.opened.load();
  if (state_.arrived.fetch_add(1) + 1 < size_) {
    WaitUntilOpened(before);
    return;
  }
  state_.arrived.store(0);
  ++state_.opened;
  if (state_.sleepers.load() != 0) {
    WakeAll(state_.opened);
  }
}

void HostBarrier::WaitUntilOpened(uint32_t before) {
  auto began = std::chrono::steady_clock::now();
  for (int poll = 1; state_.opened.load() == before; ++poll) {
    if (poll % POLLS != 0) {
      Pause();
    } else if (std::chrono::steady_clock::now() - began < polls_for_) {
      sched_yield();
    } else {
      SleepUntilOpened(before);
    }
  }
}

// Who opens the barrier looks for sleepers after that, and a sleeper looks whether it is open after it is counted: one of
// them sees the other.
void HostBarrier::SleepUntilOpened(uint32_t before) {
  ++state_.sleepers;
  int named = 0;
  while (state_.opened.load() == before && has_ended_ < 0) {
    if (Sleep(state_.opened, before)) {
      int rank = ended_();
      named += rank >= 0;
      // A process that came and then ended does not keep the others from passing.
      has_ended_ = named >= patience_ && state_.opened.load() == before ? rank : -1;
    }
  }
  --state_.sleepers;
  if (has_ended_ >= 0) {
    throw PeerEnded(has_ended_);
  }
}

} // namespace common
} // namespace horovod
