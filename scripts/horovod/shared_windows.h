// A segment of memory that all ranks of a job on one host have: windows for what they exchange, and a place to meet.
//
// It is there where HOROVOD_SHARED_MEMORY is set to something but 0 on every rank, all ranks are on one host and each
// can open the segment. Horovod's background thread is the only one that uses it.

#ifndef HVD_TRAIN_SHARED_WINDOWS_H
#define HVD_TRAIN_SHARED_WINDOWS_H

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mpi.h"

namespace horovod {
namespace common {

class SharedWindows {
public:
  // Of a rank's windows. A longer message goes through them piece by piece; one of this size stays in a core's own cache.
  static constexpr std::size_t WINDOW_BYTES = 2 << 20;

  // Collective over `comm`; all its ranks see the same Ready(). Never throws: without a segment there is MPI.
  explicit SharedWindows(MPI_Comm comm);
  ~SharedWindows();
  SharedWindows(const SharedWindows&) = delete;
  SharedWindows& operator=(const SharedWindows&) = delete;

  // Those of the running job, for whatever takes part; `Open` makes them anew when Horovod starts (again). Collective.
  static std::shared_ptr<SharedWindows> Open(MPI_Comm comm);
  // Null where there are none, or where they are not of `size` ranks.
  static SharedWindows* OfAll(int size);

  bool Ready() const { return base_ != nullptr; }
  int Rank() const { return rank_; }
  int Size() const { return size_; }

  // Of `rank`, in this turn. Windows take turns, so that a rank may fill its next while another still reads this one.
  void* Window(int rank) const;
  void NextTurn() { turn_ = 1 - turn_; }

  // Returns when all ranks are here. What each has written before, all can read after it. Collective.
  void Meet();

  // Whether `count` words are few enough for Combine.
  static bool Holds(int count);
  // words = those of all ranks, combined by and (or by or). Collective.
  void Combine(std::vector<long long>& words, int count, bool by_and);

private:
  static constexpr int WORDS = 64;
  // Where all meet: who comes last opens it for the others.
  struct alignas(64) Door {
    std::atomic<int> arrived;
    std::atomic<uint32_t> meetings;
    std::atomic<int> sleepers;
  };
  struct alignas(64) Words {
    long long of[2][WORDS];
  };
  Door& TheDoor() const { return *static_cast<Door*>(base_); }
  long long* WordsOf(int rank, int turn) const;
  void WaitUntilOpen(uint32_t meetings_before);
  bool EachHasACore(MPI_Comm comm) const;
  std::string CreateSegment();
  bool OpenSegment(const std::string& name);

  int rank_ = 0;
  int size_ = 1;
  std::size_t length_ = 0;
  void* base_ = nullptr;
  int turn_ = 0;
  int words_turn_ = 0;
  std::chrono::microseconds polls_for_{0};
};

} // namespace common
} // namespace horovod

#endif // HVD_TRAIN_SHARED_WINDOWS_H
