#include "shared_segment.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../logging.h"

namespace horovod {
namespace common {

namespace {

std::string Why(const std::string& what, int error) { return "cannot " + what + " (" + std::strerror(error) + ")"; }

// From kernel 6.3 on an administrator can ask for the flag; earlier ones do not know it.
int NamelessFile() {
  constexpr unsigned CLOSE_ON_EXEC = 1, NOT_EXECUTABLE = 8;
  int file = syscall(SYS_memfd_create, "horovod", CLOSE_ON_EXEC | NOT_EXECUTABLE);
  return file < 0 && errno == EINVAL ? syscall(SYS_memfd_create, "horovod", CLOSE_ON_EXEC) : file;
}

// Whoever writes to a page that cannot be had is killed, so pages are taken before.
int TakePages(int file, std::size_t first, std::size_t length) {
  int error;
  do {
    error = posix_fallocate(file, first, length);
  } while (error == EINTR);
  return error;
}

std::string MiB(std::size_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB of memory"; }

struct flock LockOf(int rank) {
  struct flock lock;
  std::memset(&lock, 0, sizeof(lock));
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = rank;
  lock.l_len = 1;
  return lock;
}

// Whether it went well on every rank. The first one where it did not says why: one line for the job.
bool WellOnAll(MPI_Comm comm, int rank, int size, const std::string& problem) {
  int mine = problem.empty() ? size : rank, first = size;
  MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, comm);
  if (first == rank) {
    LOG(WARNING) << "The ranks share no memory: rank " << rank << " " << problem
                 << ". Gradients go through MPI, which is slower.";
  }
  return first == size;
}

} // namespace

SharedSegment::SharedSegment(MPI_Comm comm, std::size_t head, std::size_t share) {
  MPI_Comm_rank(comm, &rank_);
  MPI_Comm_size(comm, &size_);
  length_ = head + size_ * share;
  Origin origin = {};
  auto problem = rank_ == 0 ? Make(&origin, head) : std::string();
  bool well = WellOnAll(comm, rank_, size_, problem);
  if (well) {
    MPI_Bcast(&origin, sizeof(origin), MPI_BYTE, 0, comm);
    problem = rank_ == 0 ? std::string() : Open(origin);
    well = WellOnAll(comm, rank_, size_, problem.empty() ? TakeShare(head, share) : problem);
  }
  if (!well) {
    Close();
  }
}

SharedSegment::~SharedSegment() { Close(); }

std::string SharedSegment::Make(Origin* origin, std::size_t head) {
  file_ = NamelessFile();
  if (file_ < 0) {
    return Why("make memory that has no name", errno);
  }
  struct stat status;
  if (ftruncate(file_, length_) != 0 || fstat(file_, &status) != 0) {
    return Why("make " + MiB(length_), errno);
  }
  int error = TakePages(file_, 0, head);
  if (error != 0) {
    return Why("take " + MiB(head), error);
  }
  *origin = {long(getpid()), file_, status.st_dev, status.st_ino};
  return "";
}

std::string SharedSegment::Open(const Origin& origin) {
  auto path = "/proc/" + std::to_string(origin.process) + "/fd/" + std::to_string(origin.file);
  file_ = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file_ < 0) {
    return Why("open the memory of rank 0 by " + path, errno);
  }
  struct stat status;
  if (fstat(file_, &status) != 0 || status.st_dev != origin.device || status.st_ino != origin.inode) {
    return "finds another process than rank 0 at " + path + " (its container has a /proc of its own)";
  }
  return "";
}

// The lock says that this process lives: the kernel takes it away with the process, and no child inherits it.
std::string SharedSegment::TakeShare(std::size_t head, std::size_t share) {
  int error = TakePages(file_, head + rank_ * share, share);
  if (error != 0) {
    return Why("take " + MiB(share), error);
  }
  auto lock = LockOf(rank_);
  if (fcntl(file_, F_SETLK, &lock) != 0) {
    return Why("lock its part of the memory", errno);
  }
  void* mapped = mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
  if (mapped == MAP_FAILED) {
    return Why("map " + MiB(length_), errno);
  }
  data_ = mapped;
  return "";
}

void SharedSegment::Close() {
  if (data_ != nullptr) {
    munmap(data_, length_);
    data_ = nullptr;
  }
  if (file_ >= 0) {
    close(file_);
    file_ = -1;
  }
}

int SharedSegment::Ended() const {
  for (int rank = 0; rank < size_; ++rank) {
    auto lock = LockOf(rank);
    if (rank != rank_ && fcntl(file_, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK) {
      return rank;
    }
  }
  return -1;
}

} // namespace common
} // namespace horovod
