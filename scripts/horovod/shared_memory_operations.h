// Sums and means between the ranks of one host, through the windows that they share.
//
// An operation of Horovod's, compiled into it by scripts/build_horovod.py. It takes part for sums and means of 32- and
// 64-bit floats in memory over all ranks; anything else goes to the operations after it. Where ranks disagree whether and
// how outputs are updated, none of them touches an output, and all return the same error.

#ifndef HVD_TRAIN_SHARED_MEMORY_OPERATIONS_H
#define HVD_TRAIN_SHARED_MEMORY_OPERATIONS_H

#include <cstdint>
#include <memory>
#include <vector>

#include "mpi.h"

#include "collective_operations.h"
#include "shared_windows.h"

namespace horovod {
namespace common {

// Elements of a tensor are dealt to the ranks by blocks of so many: rank r has block b where b % size == r. That depends
// on nothing but the tensor, so whatever a rank keeps of its elements (see Update) is its own from step to step.
constexpr int64_t BLOCK = 1024;

// A digest of what `digest` is one of, and of `more` (FNV-1a, by words).
inline uint64_t Mixed(uint64_t digest, uint64_t more) { return (digest ^ more) * 1099511628211u; }

// What an output can be besides a tensor: the mean is no result then, but what the result is computed from, for each
// element once, on the rank that has it. The others receive what came out.
class Update {
public:
  virtual ~Update() = default;
  // `values` holds the means of the elements [first, first + count), `output` what the output holds of these. Puts what
  // it is to hold into `values`.
  virtual void Apply(float* values, const float* output, int64_t first, int64_t count) const = 0;
  // A digest of whatever Apply depends on that must be alike on all ranks. An exchange where it is not is refused.
  virtual uint64_t Settings() const = 0;
};

class SharedMemoryAllreduce : public AllreduceOp {
public:
  // Collective over `comm`.
  SharedMemoryAllreduce(HorovodGlobalState* global_state, MPI_Comm comm);

  Status Execute(std::vector<TensorTableEntry>& entries,
                 const Response& response) override;

  // The same on all ranks.
  bool Enabled(const ParameterManager& param_manager,
               const std::vector<TensorTableEntry>& entries,
               const Response& response) const override;

private:
  std::shared_ptr<SharedWindows> windows_;
};

} // namespace common
} // namespace horovod

#endif // HVD_TRAIN_SHARED_MEMORY_OPERATIONS_H
