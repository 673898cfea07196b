// Processes that wait at a HostBarrier many times.
//
//     host_barrier SIZE ROUNDS POLL_US [KILLED]
//
// Each writes the number of the round to its own place, waits, and then reads the numbers of all. With KILLED rank 0
// kills itself halfway, and the others must leave their wait. Exit code 0: all was right.

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host_barrier.h"

using horovod::common::HostBarrier;
using horovod::common::PeerEnded;

namespace {

struct Shared {
  HostBarrier::State state;
  std::atomic<int> processes[64];
  long rounds[2][64];
};

enum Result { RIGHT, WRONG, PEER_ENDED };

Result Run(Shared* shared, int rank, int size, long rounds, int poll_us, bool killed) {
  auto find_ended = [&] {
    for (int other = 0; other < size; ++other) {
      int process = shared->processes[other];
      if (process > 0 && kill(process, 0) != 0) {
        return other;
      }
    }
    return -1;
  };
  HostBarrier barrier(&shared->state, size, std::chrono::microseconds(poll_us), 2, find_ended);
  try {
    for (long round = 1; round <= rounds; ++round) {
      if (killed && rank == 0 && round == rounds / 2) {
        raise(SIGKILL);
      }
      shared->rounds[round % 2][rank] = round;
      barrier.Wait();
      for (int other = 0; other < size; ++other) {
        if (shared->rounds[round % 2][other] != round) {
          return WRONG;
        }
      }
    }
  } catch (const PeerEnded& error) {
    std::puts(error.what());
    return PEER_ENDED;
  }
  return RIGHT;
}

} // namespace

int main(int, char** argv) {
  int size = std::atoi(argv[1]), poll_us = std::atoi(argv[3]);
  long rounds = std::atol(argv[2]);
  bool killed = argv[4] != nullptr;
  auto shared =
      static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (int rank = 0; rank < size; ++rank) {
    int process = fork();
    if (process == 0) {
      std::exit(Run(shared, rank, size, rounds, poll_us, killed));
    }
    shared->processes[rank] = process;
  }
  int num_wrong = 0, status = 0;
  while (wait(&status) > 0) {
    num_wrong += killed ? !WIFSIGNALED(status) && WEXITSTATUS(status) != PEER_ENDED : status != 0;
  }
  return num_wrong;
}
