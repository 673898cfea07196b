// What the programs of threads as ranks share: the count of wrong results, and an update that is easily checked.

#ifndef HVD_TRAIN_RANK_CHECKS_H
#define HVD_TRAIN_RANK_CHECKS_H

#include <atomic>
#include <cstdint>
#include <cstdio>

#include "block_reduce.h"

std::atomic<int> num_wrong;

void Check(bool is_right, const char* what, int rank, long round) {
  if (!is_right && num_wrong++ < 10) {
    std::printf("rank %d, round %ld: %s\n", rank, round, what);
  }
}

// weight = weight - mean
class Step : public horovod::common::Update {
public:
  explicit Step(uint64_t settings) : settings_(settings) {}
  void Apply(float* values, const float* output, int64_t, int64_t count) const override {
    for (int64_t i = 0; i < count; ++i) {
      values[i] = output[i] - values[i];
    }
  }
  uint64_t Settings() const override { return settings_; }

private:
  const uint64_t settings_;
};

#endif // HVD_TRAIN_RANK_CHECKS_H
