#include "shared_memory_operations.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "../logging.h"

namespace horovod {
namespace common {

namespace {

// Tensors begin in a window at a cache line: ranks do not write to one line at once.
constexpr int64_t ALIGNED = 16;

// As much of a tensor's block as lies in a piece.
template <typename T> struct Part {
  const T* input;
  T* output;
  const Update* update;
  int64_t first;     // of the tensor's elements
  int64_t in_window; // of the window's
  int64_t length;
  int owner;
};

int64_t AlignedLength(const TensorTableEntry& entry) {
  return (entry.tensor->shape().num_elements() + ALIGNED - 1) / ALIGNED * ALIGNED;
}

// The parts of the piece [begin, end) of all tensors, one after the other.
template <typename T>
std::vector<Part<T>> PartsOf(const std::vector<TensorTableEntry>& entries, int64_t begin, int64_t end, int size) {
  std::vector<Part<T>> parts;
  int64_t start = 0;
  for (auto& entry : entries) {
    auto input = static_cast<const T*>(entry.tensor->data());
    auto output = static_cast<T*>(const_cast<void*>(entry.output->data()));
    auto update = dynamic_cast<const Update*>(entry.output.get());
    int64_t from = std::max<int64_t>(0, begin - start);
    int64_t to = std::min(entry.tensor->shape().num_elements(), end - start);
    while (from < to) {
      int64_t length = std::min(to, (from / BLOCK + 1) * BLOCK) - from;
      parts.push_back({input + from, output + from, update, from, start + from - begin, length,
                       static_cast<int>(from / BLOCK % size)});
      from += length;
    }
    start += AlignedLength(entry);
  }
  return parts;
}

template <typename T> void ApplyUpdate(const Part<T>&, T*) {}
template <> void ApplyUpdate(const Part<float>& part, float* values) {
  if (part.update != nullptr) {
    part.update->Apply(values, part.output, part.first, part.length);
  }
}

// values = scale * (addends[0] + addends[1] + ...), in this order on whichever rank it is computed.
template <typename T> void Sum(T* values, const std::vector<const T*>& addends, int64_t length, T scale) {
  for (int64_t i = 0; i < length; ++i) {
    values[i] = addends[0][i] + addends[1][i];
  }
  for (std::size_t rank = 2; rank < addends.size(); ++rank) {
    for (int64_t i = 0; i < length; ++i) {
      values[i] += addends[rank][i];
    }
  }
  for (int64_t i = 0; i < length; ++i) {
    values[i] *= scale;
  }
}

SharedWindows::Wish WishFor(const std::vector<TensorTableEntry>& entries) {
  SharedWindows::Wish wish = {};
  for (auto& entry : entries) {
    auto update = dynamic_cast<const Update*>(entry.output.get());
    wish.which_update = Mixed(wish.which_update, update != nullptr ? 2 : 1);
    wish.how = Mixed(wish.how, update != nullptr ? update->Settings() : 0);
    wish.num_updates += update != nullptr;
  }
  return wish;
}

// What keeps the ranks from this exchange, or nothing: the same on all of them. Means would be taken for weights where one
// rank updates and another does not, and parts of a weight would be updated in different ways.
std::string Disagreement(const SharedWindows& windows) {
  auto& first = windows.WishOf(0);
  for (int rank = 1; rank < windows.Size(); ++rank) {
    auto& wish = windows.WishOf(rank);
    if (wish.which_update != first.which_update) {
      return "Rank 0 updates " + std::to_string(first.num_updates) + " weights in this exchange, and rank " +
             std::to_string(rank) + " updates " + std::to_string(wish.num_updates) +
             ". While the ranks share the update of the weights, all must take the same steps, and none may join "
             "(hvd.join) before the others. Give every rank the same number of batches, or use "
             "DistributedOptimizer(..., share_update=False).";
    }
    if (wish.how != first.how) {
      return "Rank " + std::to_string(rank) +
             " updates the weights with another learning rate, beta, epsilon or number of steps (iterations) than rank 0. "
             "Set these alike on every rank. A learning rate that follows a metric needs the metric of all ranks "
             "(MetricAverageCallback).";
    }
  }
  return "";
}

template <typename T> void LayOut(SharedWindows& windows, const std::vector<Part<T>>& parts) {
  auto window = static_cast<T*>(windows.Window(windows.Rank()));
  for (auto& part : parts) {
    if (part.owner != windows.Rank()) {
      std::memcpy(window + part.in_window, part.input, part.length * sizeof(T));
    }
  }
}

// Each rank has laid what others have to sum into its window; it sums its own parts, and takes the others' sums.
template <typename T> void SumAndTake(SharedWindows& windows, const std::vector<Part<T>>& parts, T scale) {
  int me = windows.Rank(), size = windows.Size();
  auto at = [&](int rank, const Part<T>& part) { return static_cast<T*>(windows.Window(rank)) + part.in_window; };
  // A sum lies in the window of the rank after the one that has it, in the place of an addend which that one alone has
  // read: memory that is in a core's cache already is cheaper to write to than other memory.
  auto sum_of = [&](const Part<T>& part) { return at((part.owner + 1) % size, part); };

  std::vector<const T*> addends(size);
  T values[BLOCK];
  for (auto& part : parts) {
    if (part.owner == me) {
      for (int rank = 0; rank < size; ++rank) {
        addends[rank] = rank == me ? part.input : at(rank, part);
      }
      Sum(values, addends, part.length, scale);
      ApplyUpdate(part, values);
      std::memcpy(sum_of(part), values, part.length * sizeof(T));
      std::memcpy(part.output, values, part.length * sizeof(T));
    }
  }
  windows.Meet();

  for (auto& part : parts) {
    if (part.owner != me) {
      std::memcpy(part.output, sum_of(part), part.length * sizeof(T));
    }
  }
  windows.NextTurn();
}

// Returns what kept the ranks from it, or nothing.
template <typename T>
std::string AllreduceEntries(SharedWindows& windows, const std::vector<TensorTableEntry>& entries, double scale) {
  constexpr int64_t piece = SharedWindows::WINDOW_BYTES / sizeof(T);
  int64_t length = 0;
  for (auto& entry : entries) {
    length += AlignedLength(entry);
  }
  windows.WishOf(windows.Rank()) = WishFor(entries);
  for (int64_t begin = 0; begin < length; begin += piece) {
    auto parts = PartsOf<T>(entries, begin, begin + piece, windows.Size());
    LayOut(windows, parts);
    windows.Meet();
    auto problem = begin == 0 ? Disagreement(windows) : "";
    if (!problem.empty()) {
      windows.Meet(); // all have read what the others wanted
      return problem;
    }
    SumAndTake(windows, parts, T(scale));
  }
  return "";
}

} // namespace

SharedMemoryAllreduce::SharedMemoryAllreduce(HorovodGlobalState* global_state, MPI_Comm comm)
    : AllreduceOp(global_state), windows_(SharedWindows::Open(comm)) {}

bool SharedMemoryAllreduce::Enabled(const ParameterManager& param_manager, const std::vector<TensorTableEntry>& entries,
                                    const Response& response) const {
  auto& first = entries[0];
  auto dtype = first.tensor->dtype();
  auto op = response.reduce_op();
  return windows_->Ready() && first.process_set_id == 0 && first.device == CPU_DEVICE_ID &&
         (dtype == DataType::HOROVOD_FLOAT32 || dtype == DataType::HOROVOD_FLOAT64) &&
         (op == ReduceOp::SUM || op == ReduceOp::AVERAGE) && response.prescale_factor() == 1.0;
}

Status SharedMemoryAllreduce::Execute(std::vector<TensorTableEntry>& entries, const Response& response) {
  WaitForData(entries);
  double scale = response.postscale_factor();
  if (response.reduce_op() == ReduceOp::AVERAGE) {
    scale /= windows_->Size();
  }
  auto& timeline = global_state_->timeline;
  timeline.ActivityStartAll(entries, "SHARED_MEMORY_ALLREDUCE");
  auto problem = entries[0].tensor->dtype() == DataType::HOROVOD_FLOAT32
                     ? AllreduceEntries<float>(*windows_, entries, scale)
                     : AllreduceEntries<double>(*windows_, entries, scale);
  timeline.ActivityEndAll(entries);
  if (problem.empty()) {
    return Status::OK();
  }
  if (entries[0].callback == nullptr) { // of a rank that has joined: nobody there is told by the status
    LOG(ERROR, windows_->Rank()) << problem;
  }
  return Status::InvalidArgument(problem);
}

} // namespace common
} // namespace horovod

// For hvd_train.keras: the length of a block, or 0 where the job's `size` ranks share no memory.
extern "C" int64_t horovod_shared_memory_block(int size) {
  return horovod::common::SharedWindows::OfAll(size) != nullptr ? horovod::common::BLOCK : 0;
}
