// Adam's update of some elements, for a shared-memory allreduce: each rank computes that of its blocks alone.
//
// Sharing out the update instead of repeating it on every rank: Xu et al. 2020, "Automatic Cross-Replica Sharding of
// Weight Update in Data-Parallel Training" (arXiv 2004.13336). The formula: Kingma and Ba 2015 (arXiv 1412.6980), end of
// section 2; its operations are those of TensorFlow's ResourceApplyAdam, in their order, so that every bit is the same.

#ifndef HVD_TRAIN_ADAM_UPDATE_H
#define HVD_TRAIN_ADAM_UPDATE_H

#include <cstdint>

namespace horovod {
namespace common {

struct AdamCoefficients {
  // In the order in which TensorFlow's kernel is given them.
  AdamCoefficients(float beta1_power, float beta2_power, float learning_rate, float beta1, float beta2, float epsilon);

  float alpha;
  float one_minus_beta1;
  float one_minus_beta2;
  float epsilon;
};

// `values` holds gradients, and then weights; both moments are updated where they are. `count` elements each.
void ApplyAdam(const AdamCoefficients& coefficients, float* values, const float* weights, float* momentums,
               float* velocities, int64_t count);

} // namespace common
} // namespace horovod

#endif // HVD_TRAIN_ADAM_UPDATE_H
