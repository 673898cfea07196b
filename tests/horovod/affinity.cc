// AffinityMask on a made-up machine of argv[1] CPUs, all of which this process may use.

#include <bitset>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <sched.h>

#include "affinity.h"

static std::size_t num_cpus;

// Takes the place of the C library's. As the kernel does, it refuses a mask that is too short.
extern "C" int sched_getaffinity(pid_t, std::size_t length, cpu_set_t* mask) noexcept {
  if (length * 8 < num_cpus) {
    errno = EINVAL;
    return -1;
  }
  auto bytes = reinterpret_cast<unsigned char*>(mask);
  std::memset(bytes, 0, length);
  for (std::size_t cpu = 0; cpu < num_cpus; ++cpu) {
    bytes[cpu / 8] = static_cast<unsigned char>(bytes[cpu / 8] | 1 << cpu % 8);
  }
  return 0;
}

int main(int, char** argv) {
  num_cpus = std::strtoul(argv[1], nullptr, 10);
  std::size_t count = 0;
  for (auto bits : horovod::common::AffinityMask()) {
    count += std::bitset<8>(bits).count();
  }
  std::printf("%zu CPUs\n", count);
}
