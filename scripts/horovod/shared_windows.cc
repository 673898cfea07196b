#include "shared_windows.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>

#include <sched.h>
#include <unistd.h>

namespace horovod {
namespace common {

namespace {

constexpr std::size_t PAGE = 4096;
// Whoever waits polls for so long before it sleeps: ranks are rarely further apart in a step. On a core that ranks share
// the one that is waited for may be behind this one.
constexpr std::chrono::microseconds POLLS_ON_ITS_OWN_CORE{1000};
constexpr std::chrono::microseconds POLLS_ON_A_SHARED_CORE{0};
constexpr int MOST_CPUS = 1 << 20;
// Seconds in which whoever started the job may end it when a process of it has ended.
constexpr int PATIENCE = 10;

std::shared_ptr<SharedWindows> of_the_job;

bool Wanted() {
  auto given = std::getenv("HOROVOD_SHARED_MEMORY");
  return given != nullptr && std::string(given) != "" && std::string(given) != "0";
}

// The CPUs that this process may run on, a bit for each. A mask that is too short for the machine is refused, and Linux
// allows more CPUs than a cpu_set_t has bits. Empty where it cannot be had.
std::vector<unsigned char> OwnCpus() {
  for (int cpus = CPU_SETSIZE; cpus <= MOST_CPUS; cpus *= 2) {
    std::vector<unsigned long> mask(CPU_ALLOC_SIZE(cpus) / sizeof(unsigned long));
    auto bytes = reinterpret_cast<unsigned char*>(mask.data());
    std::size_t length = mask.size() * sizeof(unsigned long);
    if (sched_getaffinity(getpid(), length, reinterpret_cast<cpu_set_t*>(bytes)) == 0) {
      return {bytes, bytes + length};
    }
    if (errno != EINVAL) {
      break;
    }
  }
  return {};
}

// Whether the ranks' processes may run on as many cores together as there are ranks.
bool EachHasACore(MPI_Comm comm, int size) {
  auto cpus = OwnCpus();
  int length = int(cpus.size());
  MPI_Allreduce(MPI_IN_PLACE, &length, 1, MPI_INT, MPI_MAX, comm);
  cpus.resize(length);
  MPI_Allreduce(MPI_IN_PLACE, cpus.data(), length, MPI_BYTE, MPI_BOR, comm);
  int count = 0;
  for (auto bits : cpus) {
    count += __builtin_popcount(bits);
  }
  return count >= size;
}

} // namespace

SharedWindows::SharedWindows(MPI_Comm comm) {
  MPI_Comm_rank(comm, &rank_);
  MPI_Comm_size(comm, &size_);
  MPI_Comm host;
  MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host);
  int local_size = 0;
  MPI_Comm_size(host, &local_size);
  MPI_Comm_free(&host);
  int all = Wanted() && size_ > 1 && local_size == size_;
  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, comm);
  if (!all) {
    return;
  }
  head_ = (sizeof(HostBarrier::State) + size_ * sizeof(List) + PAGE - 1) / PAGE * PAGE;
  segment_.reset(new SharedSegment(comm, head_, 2 * WINDOW_BYTES));
  auto polls_for = EachHasACore(comm, size_) ? POLLS_ON_ITS_OWN_CORE : POLLS_ON_A_SHARED_CORE;
  if (segment_->Data() != nullptr) { // its bytes are 0, and so is the barrier's state
    barrier_.reset(new HostBarrier(reinterpret_cast<HostBarrier::State*>(segment_->Data()), size_, polls_for,
                                   PATIENCE, [this] { return segment_->Ended(); }));
  }
}

std::shared_ptr<SharedWindows> SharedWindows::Open(MPI_Comm comm) {
  of_the_job = std::make_shared<SharedWindows>(comm);
  return of_the_job;
}

SharedWindows* SharedWindows::OfAll(int size) {
  auto windows = of_the_job.get();
  return windows != nullptr && windows->Ready() && windows->Size() == size ? windows : nullptr;
}

void* SharedWindows::Window(int rank) const { return segment_->Data() + head_ + (2 * rank + turn_) * WINDOW_BYTES; }

SharedWindows::List& SharedWindows::ListOf(int rank) const {
  return reinterpret_cast<List*>(segment_->Data() + sizeof(HostBarrier::State))[rank];
}

bool SharedWindows::Holds(int count) { return count <= WORDS; }

void SharedWindows::Combine(std::vector<long long>& words, int count, bool by_and) {
  int turn = words_turn_;
  words_turn_ = 1 - turn; // as with the windows: the next words may come while another rank still reads these
  std::copy_n(words.begin(), count, ListOf(rank_).words[turn]);
  Meet();
  for (int rank = 0; rank < size_; ++rank) {
    auto theirs = ListOf(rank).words[turn];
    for (int i = 0; i < count; ++i) {
      words[i] = by_and ? words[i] & theirs[i] : words[i] | theirs[i];
    }
  }
}

} // namespace common
} // namespace horovod
