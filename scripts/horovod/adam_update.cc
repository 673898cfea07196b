#include "adam_update.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

// Compiled without fusing products with sums (-ffp-contract=off): TensorFlow rounds after each operation. And without
// errno (-fno-math-errno), which square roots of several numbers at once cannot set.

namespace horovod {
namespace common {

namespace {

// TensorFlow computes with numbers that are too small for a full mantissa taken as 0; moments come to that where gradients
// stay 0. This thread is not TensorFlow's.
class TinyIsZero {
#if defined(__SSE__)
public:
  TinyIsZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | FLUSH | READ_AS_ZERO); }
  ~TinyIsZero() { _mm_setcsr(before_); }

private:
  static constexpr unsigned FLUSH = 0x8000, READ_AS_ZERO = 0x0040;
  unsigned before_;
#elif defined(__aarch64__)
public:
  TinyIsZero() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | FLUSH));
  }
  ~TinyIsZero() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

private:
  static constexpr uint64_t FLUSH = uint64_t(1) << 24;
  uint64_t before_;
#endif
};

} // namespace

AdamCoefficients::AdamCoefficients(float beta1_power, float beta2_power, float learning_rate, float beta1, float beta2,
                                   float epsilon)
    : alpha(learning_rate * __builtin_sqrtf(1.0f - beta2_power) / (1.0f - beta1_power)), one_minus_beta1(1.0f - beta1),
      one_minus_beta2(1.0f - beta2), epsilon(epsilon) {}

void ApplyAdam(const AdamCoefficients& coefficients, float* __restrict__ values, const float* __restrict__ weights,
               float* __restrict__ momentums, float* __restrict__ velocities, int64_t count) {
  TinyIsZero in_this_block;
  const float alpha = coefficients.alpha, one_minus_beta1 = coefficients.one_minus_beta1,
              one_minus_beta2 = coefficients.one_minus_beta2, epsilon = coefficients.epsilon;
  for (int64_t i = 0; i < count; ++i) {
    float gradient = values[i];
    float m = momentums[i] + (gradient - momentums[i]) * one_minus_beta1;
    float v = velocities[i] + (gradient * gradient - velocities[i]) * one_minus_beta2;
    momentums[i] = m;
    velocities[i] = v;
    values[i] = weights[i] - (m * alpha) / (__builtin_sqrtf(v) + epsilon);
  }
}

} // namespace common
} // namespace horovod
