"""What the recipe changes in Horovod 0.28.1's source, each change with its reason.

Every anchor must be there exactly once: another release is refused, not half changed.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Change:
    """One place of one file; `after` takes the place of `before`."""

    file: str
    before: str
    after: str


class DoesNotApply(Exception):
    """The source is not the one that these changes are for."""


FILES = Path(__file__).resolve().parent / "horovod"
NEW_FILES = {
    "horovod/common/ops": (
        "host_barrier.h",
        "host_barrier.cc",
        "shared_segment.h",
        "shared_segment.cc",
        "shared_windows.h",
        "shared_windows.cc",
        "shared_memory_operations.h",
        "shared_memory_operations.cc",
        "adam_update.h",
        "adam_update.cc",
    ),
    "horovod/tensorflow": ("grouped_adam_op.h",),
}
"""Where in Horovod's source the files of scripts/horovod go."""

# TensorFlow 2.21 no longer ships the headers of this source; what is lost are the XLA variants of the collectives.
WITHOUT_XLA = (
    Change(
        "horovod/tensorflow/CMakeLists.txt",
        'list(APPEND TF_SOURCES "${PROJECT_SOURCE_DIR}/horovod/tensorflow/xla_mpi_ops.cc")\n',
        "",
    ),
)

# Horovod's background thread looks for tensors once in a cycle, together with all other ranks': on a core that it
# shares with the computation, dozens of such meetings a step are lost time, and so is the wait for the next one when the
# gradients are there. With HOROVOD_IDLE_CYCLE_TIME (milliseconds; without it all is as it was) the thread sleeps so long
# while nothing is outstanding, and wakes when something is enqueued. A rank that wakes alone waits in the meeting for the
# others, which come when they enqueue the same; there MPI would poll as long as that takes, and have the whole core (see
# below). Where a rank may be needed without having enqueued anything (after a join, for another process set, while the
# autotuner measures), and once something that was looked at is outstanding, cycles are as before. What was enqueued since
# the last look is no such thing: on a core that it shares the thread may come to its next cycle only when the computation
# is done and waits for it.
WAKE_ON_ENQUEUE = (
    Change(
        "horovod/common/tensor_queue.h",
        "#include <mutex>\n",
        "#include <chrono>\n#include <condition_variable>\n#include <mutex>\n",
    ),
    Change(
        "horovod/common/tensor_queue.h",
        "  void RemoveJoinTensor();\n",
        """  void RemoveJoinTensor();

  bool NothingSeenIsOutstanding() const;

  void WaitUntilEnqueued(std::chrono::steady_clock::time_point deadline);
""",
    ),
    Change(
        "horovod/common/tensor_queue.h",
        "  mutable std::mutex mutex_;\n",
        """  mutable std::mutex mutex_;

  std::condition_variable enqueued_;

  std::size_t num_unseen_ = 0;
""",
    ),
    Change(
        "horovod/common/tensor_queue.cc",
        "  message_queue_.push(std::move(message));\n  return Status::OK();\n",
        "  message_queue_.push(std::move(message));\n  ++num_unseen_;\n  enqueued_.notify_one();\n  return Status::OK();\n",
    ),
    Change(
        "horovod/common/tensor_queue.cc",
        "    message_queue_.push(std::move(messages[i]));\n  }\n",
        "    message_queue_.push(std::move(messages[i]));\n    ++num_unseen_;\n  }\n  enqueued_.notify_one();\n",
    ),
    Change(
        "horovod/common/tensor_queue.cc",
        "  tensor_table_.clear();\n",
        "  tensor_table_.clear();\n  num_unseen_ = 0;\n",
    ),
    Change(
        "horovod/common/tensor_queue.cc",
        "    std::deque<Request>& message_queue_buffer) {\n  std::lock_guard<std::mutex> guard(mutex_);\n",
        "    std::deque<Request>& message_queue_buffer) {\n  std::lock_guard<std::mutex> guard(mutex_);\n  num_unseen_ = 0;\n",
    ),
    Change(
        "horovod/common/tensor_queue.cc",
        "// Remove JoinOp tensor from the table and execute the callback\n",
        """bool TensorQueue::NothingSeenIsOutstanding() const {
  std::lock_guard<std::mutex> guard(mutex_);
  return tensor_table_.size() == num_unseen_ && message_queue_.size() == num_unseen_;
}

void TensorQueue::WaitUntilEnqueued(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  enqueued_.wait_until(lock, deadline, [this] { return !message_queue_.empty(); });
}

// Remove JoinOp tensor from the table and execute the callback
""",
    ),
    Change(
        "horovod/common/operations.cc",
        "bool RunLoopOnce(HorovodGlobalState& state) {\n",
        """// Whether this rank can be needed for nothing but what it enqueues itself.
bool MaySleepUntilEnqueued(HorovodGlobalState& state) {
  if (state.shut_down || state.dynamic_process_sets ||
      state.parameter_manager.IsAutoTuning() ||
      state.process_set_table.Ids().size() != 1) {
    return false;
  }
  auto& everyone = state.process_set_table.Get(0);
  return everyone.initialization_done && !everyone.joined &&
         everyone.tensor_queue.NothingSeenIsOutstanding();
}

std::chrono::microseconds IdleCycleTime() {
  auto given = std::getenv("HOROVOD_IDLE_CYCLE_TIME");
  return std::chrono::microseconds(
      given == nullptr ? 0 : long(std::strtof(given, nullptr) * 1000.));
}

bool RunLoopOnce(HorovodGlobalState& state) {
""",
    ),
    Change(
        "horovod/common/operations.cc",
        "  if (sleep_duration > std::chrono::steady_clock::duration::zero()) {\n",
        """  static const auto idle_cycle_time = IdleCycleTime();
  if (idle_cycle_time.count() > 0 && MaySleepUntilEnqueued(state)) {
    state.process_set_table.Get(0).tensor_queue.WaitUntilEnqueued(
        start_time + idle_cycle_time);
  } else if (sleep_duration > std::chrono::steady_clock::duration::zero()) {
""",
    ),
)

# The meeting, without the variable too (all ranks must meet in the same way): after a millisecond of polling a rank looks
# again after a sixteenth of what it has waited, and at least every two milliseconds.
MEET_WITHOUT_POLLING = (
    Change(
        "horovod/common/mpi/mpi_controller.cc",
        "#include <numeric>\n",
        "#include <algorithm>\n#include <chrono>\n#include <numeric>\n#include <thread>\n",
    ),
    Change(
        "horovod/common/mpi/mpi_controller.cc",
        "void MPIController::CrossRankBitwiseAnd(",
        """namespace {
int Meet(std::vector<long long>& bits, int count, MPI_Op op, MPI_Comm comm, int size) {
  auto windows = SharedWindows::OfAll(size);
  if (windows != nullptr && SharedWindows::Holds(count)) {
    windows->Combine(bits, count, op == MPI_BAND);
    return MPI_SUCCESS;
  }
  MPI_Request request;
  int ret_code = MPI_Iallreduce(MPI_IN_PLACE, bits.data(), count,
                                MPI_LONG_LONG_INT, op, comm, &request);
  auto began = std::chrono::steady_clock::now();
  int done = 0;
  while (ret_code == MPI_SUCCESS) {
    ret_code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done) {
      break;
    }
    std::chrono::nanoseconds waited = std::chrono::steady_clock::now() - began;
    if (waited > std::chrono::milliseconds(1)) {
      std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(
          waited / 16, std::chrono::milliseconds(2)));
    }
  }
  return ret_code;
}
} // namespace

void MPIController::CrossRankBitwiseAnd(""",
    ),
    *(
        Change(
            "horovod/common/mpi/mpi_controller.cc",
            f"MPI_Allreduce(MPI_IN_PLACE, bitvector.data(), count,\n                               MPI_LONG_LONG_INT, {op}, mpi_ctx_.mpi_comm);",
            f"Meet(bitvector, count, {op}, mpi_ctx_.mpi_comm, size_);",
        )
        for op in ("MPI_BAND", "MPI_BOR")
    ),
)

# MPI copies what it sends on one host into shared memory and out of it, in fragments, before it adds: the ranks of one
# host can add where it lies. An operation of Horovod's like its others (scripts/horovod), asked before MPI's; the meetings
# before it go the same way, and a rank that waits there sleeps.
IN_SHARED_MEMORY = (
    Change(
        "CMakeLists.txt",
        '"${PROJECT_SOURCE_DIR}/horovod/common/ops/mpi_operations.cc"\n',
        '"${PROJECT_SOURCE_DIR}/horovod/common/ops/mpi_operations.cc"\n'
        + "".join(
            f'                "${{PROJECT_SOURCE_DIR}}/horovod/common/ops/{name}"\n'
            for name in NEW_FILES["horovod/common/ops"]
            if name.endswith(".cc")
        ),
    ),
    Change(
        "horovod/common/operations.cc",
        '#include "ops/mpi_operations.h"\n',
        '#include "ops/mpi_operations.h"\n#include "ops/shared_memory_operations.h"\n',
    ),
    Change(
        "horovod/common/operations.cc",
        "    allreduce_ops.push_back(\n        std::shared_ptr<AllreduceOp>(new MPIAllreduce(&state)));\n",
        """    // Before all others: what is updated (Update) must not reach one of them, such as Gloo's.
    allreduce_ops.insert(allreduce_ops.begin(), std::make_shared<SharedMemoryAllreduce>(
        &state, global_mpi_context.GetMPICommunicator(Communicator::GLOBAL)));
    allreduce_ops.push_back(
        std::shared_ptr<AllreduceOp>(new MPIAllreduce(&state)));
""",
    ),
    Change(
        "horovod/common/mpi/mpi_controller.cc",
        '#include "../logging.h"\n',
        '#include "../logging.h"\n#include "../ops/shared_windows.h"\n',
    ),
)

# A wait in shared memory ends with an exception where another rank's process has ended. What is outstanding then fails with
# its words, and not with a general remark about one of the ranks.
SAY_WHY_IT_ENDED = (
    Change(
        "horovod/common/operations.cc",
        "void BackgroundThreadLoop(HorovodGlobalState& state) {\n#if HAVE_CCL\n",
        "void BackgroundThreadLoop(HorovodGlobalState& state) {\n  Status why_it_ended = SHUT_DOWN_ERROR;\n#if HAVE_CCL\n",
    ),
    Change(
        "horovod/common/operations.cc",
        """        << "Horovod background loop uncaught exception: " << ex.what();
""",
        """        << "Horovod background loop uncaught exception: " << ex.what();
    why_it_ended = Status::UnknownError(ex.what());
""",
    ),
    Change(
        "horovod/common/operations.cc",
        "Finalize(global_mpi_context,\n                                              SHUT_DOWN_ERROR);",
        "Finalize(global_mpi_context,\n                                              why_it_ended);",
    ),
)

# Adam's update of each weight on one rank, in the same exchange (scripts/horovod/grouped_adam_op.h).
SHARED_OUT_UPDATE = (
    Change(
        "horovod/tensorflow/CMakeLists.txt",
        "# Create library\n",
        """set_source_files_properties("${PROJECT_SOURCE_DIR}/horovod/common/ops/adam_update.cc" PROPERTIES
                            COMPILE_OPTIONS "-ffp-contract=off;-fno-math-errno")

# Create library
""",
    ),
    Change(
        "horovod/tensorflow/mpi_ops.cc",
        '#include "../common/ops/collective_operations.h"\n',
        """#include <cstring>

#include "../common/ops/collective_operations.h"
#include "../common/ops/adam_update.h"
#include "../common/ops/shared_memory_operations.h"
""",
    ),
    Change(
        "horovod/tensorflow/mpi_ops.cc",
        'REGISTER_KERNEL_BUILDER(Name("HorovodGroupedAllreduce").Device(DEVICE_CPU),\n',
        """#include "grouped_adam_op.h"

REGISTER_KERNEL_BUILDER(Name("HorovodGroupedAllreduce").Device(DEVICE_CPU),
""",
    ),
)

# A group of gradients is averaged where it lies, unless something else still reads it: half the memory that an exchange
# goes through, and that leaves the core's cache for it. A copy of the tensor would be such a reader.
IN_PLACE = (
    Change(
        "horovod/tensorflow/mpi_ops.cc",
        """      auto tensor = context->input(i);
      OP_REQUIRES_OK_ASYNC(
          context, context->allocate_output(i, tensor.shape(), &outputs[i]),
          done);
""",
        """      const auto& tensor = context->input(i);
      OP_REQUIRES_OK_ASYNC(
          context, context->forward_input_or_allocate_output({i}, i, tensor.shape(), &outputs[i]),
          done);
""",
    ),
)

# TensorFlow wakes a worker for each operation that waits for the gradients, one after the other, in the thread that says
# that they are there. That is Horovod's, and on a core that it shares with the workers the two change places at each of
# them. Said by a worker, it is one waking.
SAY_DONE_IN_A_WORKER = (
    Change(
        "horovod/tensorflow/mpi_ops.cc",
        "class HorovodGroupedAllreduceOp : public AsyncOpKernel {\n",
        """namespace {
void SayDoneInAWorker(OpKernelContext* context, const AsyncOpKernel::DoneCallback& done) {
  auto runner = context->runner();
  if (runner != nullptr && *runner != nullptr) {
    (*runner)(done);
  } else { // a function that TensorFlow runs in the thread that called it
    done();
  }
}
} // namespace

class HorovodGroupedAllreduceOp : public AsyncOpKernel {
""",
    ),
    Change(
        "horovod/tensorflow/mpi_ops.cc",
        """              done();
            }
          });
    }

    auto enqueue_result = EnqueueTensorAllreduces(
""",
        """              SayDoneInAWorker(context, done);
            }
          });
    }

    auto enqueue_result = EnqueueTensorAllreduces(
""",
    ),
)

# horovodrun turns into `/bin/sh -c "mpirun ..."`. A shell passes no signal on to what it waits for: SIGTERM or SIGKILL to
# horovodrun alone (a supervisor's, `kill PID`, Popen.terminate) ended the shell, and mpirun and all ranks went on. With exec
# mpirun is that process itself.
HOROVODRUN_IS_MPIRUN = (
    Change(
        "horovod/runner/mpi_run.py",
        "        'mpirun {basic_args} '\n",
        "        'exec mpirun {basic_args} '\n",
    ),
)

CHANGES = (
    *WITHOUT_XLA,
    *HOROVODRUN_IS_MPIRUN,
    *WAKE_ON_ENQUEUE,
    *MEET_WITHOUT_POLLING,
    *IN_SHARED_MEMORY,
    *SAY_WHY_IT_ENDED,
    *SHARED_OUT_UPDATE,
    *IN_PLACE,
    *SAY_DONE_IN_A_WORKER,
)


def digest() -> str:
    """Eight characters that are others when a change is another."""
    files = [FILES / name for names in NEW_FILES.values() for name in names]
    return hashlib.sha256(repr((CHANGES, NEW_FILES)).encode() + b"".join(f.read_bytes() for f in files)).hexdigest()[:8]


def apply(source: Path) -> None:
    """Make all changes in an unpacked source. Raises DoesNotApply."""
    for change in CHANGES:
        path = source / change.file
        text = path.read_text()
        if text.count(change.before) != 1:
            raise DoesNotApply(f"{change.file} does not hold {change.before.strip().splitlines()[0]!r} exactly once")
        path.write_text(text.replace(change.before, change.after))
    for folder, names in NEW_FILES.items():
        (source / folder).mkdir(exist_ok=True)
        for name in names:
            shutil.copy(FILES / name, source / folder / name)
