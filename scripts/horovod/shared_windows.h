// What the ranks of a job on one host share: windows for what they exchange, words, and a barrier.
//
// It is there where HOROVOD_SHARED_MEMORY is set to something but 0 on every rank, all ranks are on one host and each
// can have the memory. Horovod's background thread is the only one that uses it.

#ifndef HVD_TRAIN_SHARED_WINDOWS_H
#define HVD_TRAIN_SHARED_WINDOWS_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "mpi.h"

#include "host_barrier.h"
#include "shared_segment.h"

namespace horovod {
namespace common {

class SharedWindows {
public:
  // Of a rank's windows. A longer message goes through them piece by piece; one of this size stays in a core's own cache.
  static constexpr std::size_t WINDOW_BYTES = 2 << 20;

  // Collective over `comm`; all its ranks see the same Ready(). Never throws: without shared memory there is MPI.
  explicit SharedWindows(MPI_Comm comm);
  SharedWindows(const SharedWindows&) = delete;
  SharedWindows& operator=(const SharedWindows&) = delete;

  // Those of the running job, for whatever takes part; `Open` makes them anew when Horovod starts (again). Collective.
  static std::shared_ptr<SharedWindows> Open(MPI_Comm comm);
  // Null where there are none, or where they are not of `size` ranks.
  static SharedWindows* OfAll(int size);

  bool Ready() const { return barrier_ != nullptr; }
  int Rank() const { return rank_; }
  int Size() const { return size_; }

  // Of `rank`, in this turn. Windows take turns, so that a rank may fill its next while another still reads this one.
  void* Window(int rank) const;
  void NextTurn() { turn_ = 1 - turn_; }

  // What a rank wants of an exchange. It lays its own here before the first barrier, and reads the others' between that
  // one and the next.
  struct Wish {
    uint64_t which_update;
    uint64_t how;
    uint64_t num_updates;
  };
  Wish& WishOf(int rank) const { return ListOf(rank).wish; }

  // Returns when all ranks are here. What each has written before, all can read after it. Collective. Throws PeerEnded.
  void Meet() { barrier_->Wait(); }

  // Whether `count` words are few enough for Combine.
  static bool Holds(int count);
  // words = those of all ranks, combined by and (or by or). Collective. Throws PeerEnded.
  void Combine(std::vector<long long>& words, int count, bool by_and);

private:
  static constexpr int WORDS = 64;
  struct alignas(64) List {
    long long words[2][WORDS];
    Wish wish;
  };
  List& ListOf(int rank) const;

  int rank_ = 0;
  int size_ = 1;
  std::size_t head_ = 0;
  std::unique_ptr<SharedSegment> segment_;
  std::unique_ptr<HostBarrier> barrier_;
  int turn_ = 0;
  int words_turn_ = 0;
};

} // namespace common
} // namespace horovod

#endif // HVD_TRAIN_SHARED_WINDOWS_H
