#include "shared_windows.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../logging.h"

namespace horovod {
namespace common {

namespace {

constexpr std::size_t NAME_LENGTH = 64;
constexpr std::size_t PAGE = 4096;
// Whoever waits looks again and again for so long before it sleeps: ranks are rarely further apart in a step. On a core
// that ranks share the one that is waited for may be behind this one.
constexpr std::chrono::microseconds POLLS_ON_ITS_OWN_CORE{1000};
constexpr std::chrono::microseconds POLLS_ON_A_SHARED_CORE{0};
// Between two times that it steps aside meanwhile, for the thread of the input.
constexpr int LOOKS = 64;

std::shared_ptr<SharedWindows> of_the_job;

bool Wanted() {
  auto given = std::getenv("HOROVOD_SHARED_MEMORY");
  return given != nullptr && std::string(given) != "" && std::string(given) != "0";
}

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Not the private ones: the word is in several processes. A second at most, should a wake be lost with its sender.
void Sleep(std::atomic<uint32_t>& word, uint32_t seen) {
  struct timespec limit = {1, 0};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT, seen, &limit, nullptr, 0);
}

void WakeAll(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
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
  polls_for_ = EachHasACore(comm) ? POLLS_ON_ITS_OWN_CORE : POLLS_ON_A_SHARED_CORE;
  std::size_t head = (sizeof(Door) + size_ * sizeof(Words) + PAGE - 1) / PAGE * PAGE;
  length_ = head + size_ * 2 * WINDOW_BYTES;
  std::string name = rank_ == 0 ? CreateSegment() : "";
  name.resize(NAME_LENGTH);
  MPI_Bcast(&name[0], NAME_LENGTH, MPI_CHAR, 0, comm);
  name.resize(std::strlen(name.c_str()));
  all = !name.empty() && OpenSegment(name);
  MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT, MPI_MIN, comm);
  if (rank_ == 0 && !name.empty()) {
    shm_unlink(name.c_str()); // all have it open: however this job ends, nothing stays behind
  }
  if (!all && base_ != nullptr) {
    munmap(base_, length_);
    base_ = nullptr;
  }
  if (!all && rank_ == 0) {
    LOG(WARNING) << "The ranks share no memory (" << (length_ >> 20) << " MiB in /dev/shm): gradients go through MPI.";
  }
}

SharedWindows::~SharedWindows() {
  if (base_ != nullptr) {
    munmap(base_, length_);
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

// Whether the ranks' processes may run on as many cores together as there are ranks.
bool SharedWindows::EachHasACore(MPI_Comm comm) const {
  cpu_set_t own, all;
  CPU_ZERO(&own);
  CPU_ZERO(&all);
  sched_getaffinity(getpid(), sizeof(own), &own);
  MPI_Allreduce(&own, &all, sizeof(own), MPI_BYTE, MPI_BOR, comm);
  return CPU_COUNT(&all) >= size_;
}

// The root's. Its name, or none where there is no room: a container's /dev/shm has 64 MiB unless it was given more, and
// whoever writes to a page that cannot be had is killed, so they are all taken here.
std::string SharedWindows::CreateSegment() {
  auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  std::string name = "/horovod-" + std::to_string(getpid()) + "-" + std::to_string(now);
  int file = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, S_IRUSR | S_IWUSR);
  if (file < 0) {
    return "";
  }
  bool taken = posix_fallocate(file, 0, length_) == 0;
  close(file);
  if (!taken) {
    shm_unlink(name.c_str());
    return "";
  }
  return name;
}

bool SharedWindows::OpenSegment(const std::string& name) {
  int file = shm_open(name.c_str(), O_RDWR, 0);
  if (file < 0) {
    return false;
  }
  void* mapped = mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped == MAP_FAILED) {
    return false;
  }
  base_ = mapped; // its bytes are 0, and so are the door's numbers
  return true;
}

void* SharedWindows::Window(int rank) const {
  auto end = static_cast<char*>(base_) + length_;
  return end - (2 * (size_ - rank) - turn_) * WINDOW_BYTES;
}

long long* SharedWindows::WordsOf(int rank, int turn) const {
  auto words = reinterpret_cast<Words*>(static_cast<char*>(base_) + sizeof(Door));
  return words[rank].of[turn];
}

void SharedWindows::Meet() {
  auto& door = TheDoor();
  uint32_t before = door.meetings.load();
  if (door.arrived.fetch_add(1) + 1 < size_) {
    WaitUntilOpen(before);
    return;
  }
  door.arrived.store(0);
  ++door.meetings;
  if (door.sleepers.load() != 0) {
    WakeAll(door.meetings);
  }
}

void SharedWindows::WaitUntilOpen(uint32_t before) {
  auto& door = TheDoor();
  auto began = std::chrono::steady_clock::now();
  for (int look = 1; door.meetings.load() == before; ++look) {
    if (look % LOOKS != 0) {
      Pause();
    } else if (std::chrono::steady_clock::now() - began < polls_for_) {
      sched_yield();
    } else {
      // Who opens the door looks for sleepers after that, and a sleeper for the door after it is counted: one of them
      // sees the other.
      ++door.sleepers;
      while (door.meetings.load() == before) {
        Sleep(door.meetings, before);
      }
      --door.sleepers;
    }
  }
}

bool SharedWindows::Holds(int count) { return count <= WORDS; }

void SharedWindows::Combine(std::vector<long long>& words, int count, bool by_and) {
  int turn = words_turn_;
  words_turn_ = 1 - turn; // as with the windows: the next words may come while another rank still reads these
  std::copy_n(words.begin(), count, WordsOf(rank_, turn));
  Meet();
  for (int rank = 0; rank < size_; ++rank) {
    auto theirs = WordsOf(rank, turn);
    for (int i = 0; i < count; ++i) {
      words[i] = by_and ? words[i] & theirs[i] : words[i] | theirs[i];
    }
  }
}

} // namespace common
} // namespace horovod
