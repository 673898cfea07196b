// Threads as ranks of several hosts that negotiate and reduce many times in two levels.
//
//     two_levels ROUNDS POLL_US RANKS_OF_HOST RANKS_OF_HOST...
//     two_levels ended
//     two_levels silent
//
// Hosts share no memory here, and are joined by pairs of sockets. Built with -fsanitize=thread where there is one.
// Exit code 0: every result was right, and the same bits on all ranks.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include "rank_checks.h"
#include "two_levels.h"

using namespace horovod::common;

namespace {

// Around a block, and more than a window together.
const std::vector<int64_t> LENGTHS = {1, 0, 15, 1024, 1025, 3000, 2 * 1024 * 1024 / 4 + 5000};
const std::vector<int64_t> WEIGHTS = {7, 1023, 9000};

// A number that depends on rank and element, and that is not exact in 16 bits.
float Value(int rank, std::size_t i, long round) {
  return std::sin(float(i) * 0.37f + float(rank) * 1.7f + float(round));
}

// The ranks of all hosts, and what they last computed, to compare.
struct Job {
  std::vector<std::vector<int>> ranks;
  int size = 0;
  std::vector<std::vector<float>> results;

  // The sum as it must be added: on each host in the order of its ranks, then in the order of hosts.
  float Expected(std::size_t i, long round, float scale) const {
    float sum = 0;
    for (std::size_t host = 0; host < ranks.size(); ++host) {
      float on_host = Value(ranks[host][0], i, round);
      for (std::size_t number = 1; number < ranks[host].size(); ++number) {
        on_host += Value(ranks[host][number], i, round);
      }
      sum = host == 0 ? on_host : sum + on_host;
    }
    return sum * scale;
  }
};

class Rank {
public:
  Rank(Job& job, std::shared_ptr<SharedWindows> windows, std::shared_ptr<PeerLinks> links, TwoLevels::Place place)
      : job_(job), levels_(std::move(windows), std::move(links), std::move(place)), rank_(levels_.Rank()) {
    for (auto length : WEIGHTS) {
      weights_.emplace_back(length, 0.0f);
    }
  }

  void Run(long rounds) {
    for (long round = 0; round < rounds; ++round) {
      Negotiate(round);
      Sum(round);
      Round(round, WirePrecision::BFLOAT16);
      Round(round, WirePrecision::FLOAT16);
      SumDoubles(round);
      UpdateWeights(round);
      Disagree(round);
    }
  }

private:
  void Negotiate(long round) {
    std::vector<long long> words = {1LL << rank_, ~(1LL << rank_), round};
    auto by_or = words, by_and = words;
    levels_.AllreduceBits(by_or, 3, false);
    levels_.AllreduceBits(by_and, 3, true);
    Check(by_or[0] == (1LL << job_.size) - 1 && by_or[2] == round, "bits by or", rank_, round);
    Check(by_and[1] == ~((1LL << job_.size) - 1) && by_and[2] == round, "bits by and", rank_, round);
  }

  // In place, as gradients are.
  void Sum(long round) {
    std::vector<std::vector<float>> tensors;
    std::vector<ReduceEntry<float>> entries;
    for (auto length : LENGTHS) {
      tensors.emplace_back(length);
      for (std::size_t i = 0; i < tensors.back().size(); ++i) {
        tensors.back()[i] = Value(rank_, i, round);
      }
    }
    for (auto& tensor : tensors) {
      entries.push_back({tensor.data(), tensor.data(), int64_t(tensor.size()), nullptr});
    }
    Check(levels_.Reduce<float>(entries, 0.5f).empty(), "the sum was refused", rank_, round);
    for (auto& tensor : tensors) {
      for (std::size_t i = 0; i < tensor.size(); i += 97) {
        Check(tensor[i] == job_.Expected(i, round, 0.5f), "sum", rank_, round);
      }
    }
  }

  // With error feedback the results of many rounds add up to what they should. Tensors of odd length between others.
  void Round(long round, WirePrecision precision) {
    const std::size_t length = 5001;
    auto& state = rounded_[precision == WirePrecision::FLOAT16];
    std::vector<float> values(length), odd(1025), exact(1500);
    state.errors.resize(length);
    state.odd.resize(odd.size());
    state.total.resize(length);
    for (std::size_t i = 0; i < length; ++i) {
      values[i] = Value(rank_, i, 0);
    }
    for (std::size_t i = 0; i < exact.size(); ++i) {
      odd[i % odd.size()] = exact[i] = Value(rank_, i, round);
    }
    std::vector<ReduceEntry<float>> entries = {
        {odd.data(), odd.data(), int64_t(odd.size()), nullptr, state.odd.data()},
        {exact.data(), exact.data(), int64_t(exact.size()), nullptr},
        {values.data(), values.data(), int64_t(length), nullptr, state.errors.data()}};
    Check(levels_.Reduce<float>(entries, 1.0f, precision).empty(), "the sum was refused", rank_, round);
    float tolerance = precision == WirePrecision::FLOAT16 ? 2e-3f : 1.6e-2f;
    for (std::size_t i = 0; i < length; ++i) {
      float expected = job_.Expected(i, 0, 1.0f);
      state.total[i] += values[i];
      Check(std::fabs(values[i] - expected) < tolerance * float(job_.size), "rounded sum", rank_, round);
      Check(std::fabs(state.total[i] - float(round + 1) * expected) < 2 * tolerance * float(job_.size),
            "sum of rounded sums", rank_, round);
    }
    for (std::size_t i = 0; i < exact.size(); ++i) {
      Check(exact[i] == job_.Expected(i, round, 1.0f), "sum beside a rounded one", rank_, round);
    }
    Compare(values, round);
  }

  // Rank by rank: all have the bits of rank 0.
  void Compare(const std::vector<float>& values, long round) {
    job_.results[rank_] = values;
    std::vector<long long> nothing = {0};
    levels_.AllreduceBits(nothing, 1, false);
    Check(std::memcmp(values.data(), job_.results[0].data(), values.size() * sizeof(float)) == 0,
          "other bits than rank 0", rank_, round);
    levels_.AllreduceBits(nothing, 1, false);
  }

  void SumDoubles(long round) {
    std::vector<double> values(5000, double(rank_ + round));
    std::vector<ReduceEntry<double>> entries = {{values.data(), values.data(), 5000, nullptr}};
    Check(levels_.Reduce<double>(entries, 1.0).empty(), "the sum was refused", rank_, round);
    for (auto value : values) {
      Check(value == double(job_.size) * double(job_.size - 1) / 2 + double(job_.size) * double(round),
            "sum of doubles", rank_, round);
    }
  }

  std::string Reduce(uint64_t settings) {
    Step step(settings);
    std::vector<std::vector<float>> gradients;
    std::vector<ReduceEntry<float>> entries;
    for (auto& weight : weights_) {
      gradients.emplace_back(weight.size(), 2.0f * float(rank_));
    }
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      entries.push_back({gradients[i].data(), weights_[i].data(), int64_t(weights_[i].size()), &step});
    }
    return levels_.Reduce<float>(entries, 1.0f / float(job_.size));
  }

  void CheckWeights(const char* what, long round) {
    for (auto& weight : weights_) {
      for (auto value : weight) {
        Check(std::fabs(value + float(num_updates_ * (job_.size - 1))) < 1e-3f * float(num_updates_ + 1), what, rank_,
              round);
      }
    }
  }

  void UpdateWeights(long round) {
    Check(Reduce(uint64_t(round)).empty(), "the update was refused", rank_, round);
    ++num_updates_;
    CheckWeights("updated weight", round);
    Compare(weights_.back(), round);
  }

  // One rank, another one in each round, has settings of its own.
  void Disagree(long round) {
    int other = int(round % job_.size);
    auto problem = Reduce(rank_ == other ? 2 : 1);
    Check(problem.find(" updates the weights with another learning rate") != problem.npos &&
              problem.find("ank " + std::to_string(other)) != problem.npos,
          "other settings were not refused", rank_, round);
    CheckWeights("weight after a refusal", round);
  }

  struct Rounded {
    std::vector<float> errors, odd, total;
  };

  Job& job_;
  TwoLevels levels_;
  const int rank_;
  std::vector<std::vector<float>> weights_;
  Rounded rounded_[2];
  long num_updates_ = 0;
};

int RunJob(long rounds, int poll_us, const std::vector<int>& hosts) {
  Job job;
  int num_hosts = int(hosts.size()), num_owners = hosts[0];
  for (auto count : hosts) {
    num_owners = std::min(num_owners, count);
    job.ranks.emplace_back();
    for (int i = 0; i < count; ++i) {
      job.ranks.back().push_back(job.size++);
    }
  }
  job.results.resize(job.size);
  // sockets[number][a][b]: the end of host a of the connection between the owners `number` of hosts a and b.
  std::vector<std::vector<std::vector<int>>> sockets(
      num_owners, std::vector<std::vector<int>>(num_hosts, std::vector<int>(num_hosts, -1)));
  for (auto& ends : sockets) {
    for (int a = 0; a < num_hosts; ++a) {
      for (int b = 0; b < a; ++b) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
          return 2;
        }
        ends[a][b] = pair[0];
        ends[b][a] = pair[1];
      }
    }
  }
  std::vector<std::shared_ptr<char>> memories;
  std::vector<std::thread> threads;
  for (int host = 0; host < num_hosts; ++host) {
    int size = hosts[host];
    std::size_t bytes = SharedWindows::HeaderBytes(size) + std::size_t(size) * SharedWindows::RANK_BYTES;
    memories.emplace_back(static_cast<char*>(std::aligned_alloc(4096, bytes)), std::free);
    auto memory = memories.back().get();
    std::fill(memory, memory + bytes, 0);
    for (int number = 0; number < size; ++number) {
      std::shared_ptr<PeerLinks> links;
      if (number < num_owners) {
        std::vector<PeerLinks::Peer> peers;
        for (int other = 0; other < num_hosts; ++other) {
          peers.push_back({sockets[number][host][other], job.ranks[other][number]});
        }
        links = std::make_shared<PeerLinks>(peers, host, std::chrono::seconds(100), std::chrono::seconds(0));
      }
      auto windows = std::make_shared<SharedWindows>(memory, number, size, std::chrono::microseconds(poll_us), 1,
                                                     [] { return -1; });
      TwoLevels::Place place = {host, num_hosts, num_owners, job.ranks[host]};
      threads.emplace_back([&job, windows, links, place, rounds] { Rank(job, windows, links, place).Run(rounds); });
    }
  }
  for (auto& thread : threads) {
    thread.join();
  }
  return num_wrong == 0 ? 0 : 1;
}

// A peer that ends in the middle of a message, or that is silent: the wait ends, and names the peer.
int RunWithoutPeer(bool ends) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
    return 2;
  }
  PeerLinks links({{-1, 0}, {pair[0], 7}}, 0, std::chrono::seconds(2), std::chrono::seconds(0));
  std::vector<char> memory(1 << 22);
  std::thread peer([&] {
    if (ends) {
      std::vector<char> some(1000);
      bool is_read = read(pair[1], some.data(), some.size()) > 0;
      close(is_read ? pair[1] : -1);
    }
  });
  try {
    links.Exchange({{1, {{memory.data(), memory.size()}}, {{memory.data(), 10}}, true, true}});
  } catch (const PeerLost& lost) {
    std::printf("%s\n", lost.what());
  }
  peer.join();
  return 0;
}

} // namespace

int main(int count, char** argv) {
  std::string first = argv[1];
  if (first == "ended" || first == "silent") {
    return RunWithoutPeer(first == "ended");
  }
  std::vector<int> hosts;
  for (int i = 3; i < count; ++i) {
    hosts.push_back(std::atoi(argv[i]));
  }
  return RunJob(std::atol(argv[1]), std::atoi(argv[2]), hosts);
}
