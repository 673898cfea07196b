// Threads as ranks that negotiate and reduce many times through windows that they share.
//
//     exchange SIZE ROUNDS POLL_US
//
// Built with -fsanitize=thread, so that a read which nothing orders after its write is reported. ThreadSanitizer sees
// nothing between processes, hence threads. Exit code 0: every result was right.

#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "block_reduce.h"
#include "rank_checks.h"

using horovod::common::BlockReduce;
using horovod::common::ReduceEntry;
using horovod::common::SharedWindows;

namespace {

// Around a block and a cache line, and more than a window together.
const std::vector<int64_t> LENGTHS = {1, 0, 15, 1024, 1025, 3000, 2 * 1024 * 1024 / 4 + 5000};
// Of tensors that are updated: around a block too.
const std::vector<int64_t> WEIGHTS = {7, 1023, 5000};

class Rank {
public:
  Rank(char* memory, int rank, int size, int poll_us)
      : windows_(memory, rank, size, std::chrono::microseconds(poll_us), 1, [] { return -1; }), rank_(rank),
        size_(size) {
    for (auto length : WEIGHTS) {
      weights_.emplace_back(length, 0.0f);
    }
  }

  void Run(long rounds) {
    for (long round = 0; round < rounds; ++round) {
      Negotiate(round);
      Sum<float>(round);
      UpdateWeights(round);
      if (round % 3 == 1) {
        Sum<double>(round);
        Disagree(round);
      }
    }
  }

private:
  void Negotiate(long round) {
    std::vector<long long> words = {1LL << rank_, ~(1LL << (rank_ + round % 7)), round};
    auto by_or = words, by_and = words;
    windows_.AllreduceBits(by_or, 3, false);
    windows_.AllreduceBits(by_and, 3, true);
    Check(by_or[0] == (1LL << size_) - 1 && by_or[2] == round, "bits by or", rank_, round);
    Check(by_and[1] == ~(((1LL << size_) - 1) << round % 7) && by_and[2] == round, "bits by and", rank_, round);
  }

  // In place, as gradients are.
  template <typename T> void Sum(long round) {
    std::vector<std::vector<T>> tensors;
    std::vector<ReduceEntry<T>> entries;
    for (auto length : LENGTHS) {
      tensors.emplace_back(length, T(rank_ + round % 5));
    }
    for (auto& tensor : tensors) {
      std::iota(tensor.begin(), tensor.begin() + tensor.size() / 2, T(rank_));
      entries.push_back({tensor.data(), tensor.data(), int64_t(tensor.size()), nullptr});
    }
    Check(BlockReduce<T>(windows_, entries, T(0.5)).empty(), "the sum was refused", rank_, round);
    const T ranks = T(size_) * T(size_ - 1) / 2;
    for (auto& tensor : tensors) {
      bool is_right = true;
      for (std::size_t i = 0; i < tensor.size(); ++i) {
        is_right &= tensor[i] == T(0.5) * (T(size_) * T(i < tensor.size() / 2 ? long(i) : round % 5) + ranks);
      }
      Check(is_right, "sum", rank_, round);
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
    return BlockReduce<float>(windows_, entries, 1.0f / float(size_));
  }

  void CheckWeights(const char* what, long round) {
    for (auto& weight : weights_) {
      for (auto value : weight) {
        Check(value == -float(num_updates_ * (size_ - 1)), what, rank_, round);
      }
    }
  }

  void UpdateWeights(long round) {
    auto problem = Reduce(uint64_t(round));
    Check(problem.empty(), "the update was refused", rank_, round);
    ++num_updates_;
    CheckWeights("updated weight", round);
  }

  // The last rank has settings of its own.
  void Disagree(long round) {
    auto problem = Reduce(rank_ == size_ - 1 ? 2 : 1);
    auto begin = "Rank " + std::to_string(size_ - 1) + " updates the weights with another learning rate";
    Check(problem.rfind(begin, 0) == 0, "other settings were not refused", rank_, round);
    CheckWeights("weight after a refusal", round);
  }

  SharedWindows windows_;
  const int rank_;
  const int size_;
  std::vector<std::vector<float>> weights_;
  long num_updates_ = 0;
};

} // namespace

int main(int, char** argv) {
  int size = std::atoi(argv[1]), poll_us = std::atoi(argv[3]);
  long rounds = std::atol(argv[2]);
  std::size_t bytes = SharedWindows::HeaderBytes(size) + std::size_t(size) * SharedWindows::RANK_BYTES;
  auto memory = static_cast<char*>(std::aligned_alloc(4096, bytes));
  std::fill(memory, memory + bytes, 0);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([=] { Rank(memory, rank, size, poll_us).Run(rounds); });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  std::free(memory);
  return num_wrong == 0 ? 0 : 1;
}
