// Processes (or threads, for ThreadSanitizer) that meet at a HostBarrier many times.
//
//     host_barrier SIZE ROUNDS POLLS_US [KILLED]
//
// Each writes the round's number into its own place, and then reads those of all. With KILLED, rank 0 kills itself in mid-way,
// and the others must leave their wait. Exit code 0: all was right. Compiled with -DTHREADS: threads, and nobody is killed.

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host_barrier.h"

using horovod::common::HostBarrier;
using horovod::common::PeerEnded;

struct Shared {
  HostBarrier::State state;
  std::atomic<int> processes[64];
  long rounds[2][64];
};

// 0: all rounds were right; 1: one was not; 2: a wait ended since a process had.
static int Meet(Shared* shared, int rank, int size, long rounds, int polls_us, bool killed) {
  auto ended = [&] {
    for (int other = 0; other < size; ++other) {
      int process = shared->processes[other];
      if (process > 0 && kill(process, 0) != 0) {
        return other;
      }
    }
    return -1;
  };
  HostBarrier barrier(&shared->state, size, std::chrono::microseconds(polls_us), 2, ended);
  try {
    for (long round = 1; round <= rounds; ++round) {
      if (killed && rank == 0 && round == rounds / 2) {
        raise(SIGKILL);
      }
      shared->rounds[round % 2][rank] = round;
      barrier.Wait();
      for (int other = 0; other < size; ++other) {
        if (shared->rounds[round % 2][other] != round) {
          return 1;
        }
      }
    }
  } catch (const PeerEnded& error) {
    std::puts(error.what());
    return 2;
  }
  return 0;
}

int main(int, char** argv) {
  int size = std::atoi(argv[1]), polls_us = std::atoi(argv[3]);
  long rounds = std::atol(argv[2]);
  bool killed = argv[4] != nullptr;
  auto shared = static_cast<Shared*>(
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
#if defined(THREADS)
  std::vector<std::thread> threads;
  std::vector<int> found(size);
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] { found[rank] = Meet(shared, rank, size, rounds, polls_us, killed); });
  }
  int wrong = 0;
  for (int rank = 0; rank < size; ++rank) {
    threads[rank].join();
    wrong += found[rank] != 0;
  }
  return wrong;
#else
  for (int rank = 0; rank < size; ++rank) {
    int process = fork();
    if (process == 0) {
      std::exit(Meet(shared, rank, size, rounds, polls_us, killed));
    }
    shared->processes[rank] = process;
  }
  int wrong = 0, status = 0;
  while (wait(&status) > 0) {
    wrong += killed ? !WIFSIGNALED(status) && WEXITSTATUS(status) != 2 : status != 0;
  }
  return wrong;
#endif
}
