// Memory that the ranks of a job on one host share. It has no name: when the last process ends, however that happens, it
// is gone. It counts as memory of the job's container, and needs no room in /dev/shm.
//
// The root makes it (memfd_create), and the others open it by /proc/PID/fd/N of the root. That takes the same user and the
// same /proc; ptrace's restrictions for other processes (Yama) do not hold for it.

#ifndef HVD_TRAIN_SHARED_SEGMENT_H
#define HVD_TRAIN_SHARED_SEGMENT_H

#include <cstddef>
#include <string>

#include "mpi.h"

namespace horovod {
namespace common {

class SharedSegment {
public:
  // `head` bytes, and then `share` bytes for each rank, which are taken by that rank: Linux lays a page where the process
  // runs that takes it first. All bytes are 0. Collective over `comm`; all its ranks see the same Data(), null where one
  // of them cannot have the memory. That one says why.
  SharedSegment(MPI_Comm comm, std::size_t head, std::size_t share);
  ~SharedSegment();
  SharedSegment(const SharedSegment&) = delete;
  SharedSegment& operator=(const SharedSegment&) = delete;

  char* Data() const { return static_cast<char*>(data_); }

  // A rank other than this one whose process has ended or closed the segment, or -1.
  int Ended() const;

private:
  struct Origin {
    long process;
    int file;
    unsigned long long device, inode;
  };
  // Each returns what could not be done and why, or nothing.
  std::string Make(Origin* origin, std::size_t head);
  std::string Open(const Origin& origin);
  std::string TakeShare(std::size_t head, std::size_t share);
  void Close();

  int rank_ = 0;
  int size_ = 1;
  int file_ = -1;
  std::size_t length_ = 0;
  void* data_ = nullptr;
};

} // namespace common
} // namespace horovod

#endif // HVD_TRAIN_SHARED_SEGMENT_H
