// The operation HorovodGroupedAdam. Included by mpi_ops.cc within its namespace, whose TFTensor and others it needs.
//
// Averages gradients over all ranks and updates variables by Adam, each element on one rank, in one exchange through
// shared memory (shared_memory_operations.h). Of the two moments every rank updates its own blocks alone. It can be had
// where horovod_shared_memory_block() is not 0. Where a rank has joined, or updates with another learning rate than the
// others, it is an error on all ranks, and nothing is updated.

namespace { // as TFTensor

class AdamUpdatedTensor : public TFTensor, public common::Update {
public:
  AdamUpdatedTensor(::tensorflow::Tensor& weights, ::tensorflow::Tensor momentums, ::tensorflow::Tensor velocities,
                     common::AdamCoefficients coefficients)
      : TFTensor(weights), momentums_(std::move(momentums)), velocities_(std::move(velocities)),
        coefficients_(coefficients) {}

  void Apply(float* values, const float* output, int64_t first, int64_t count) const override {
    auto from = [&](const ::tensorflow::Tensor& tensor) { return const_cast<float*>(tensor.flat<float>().data()) + first; };
    common::ApplyAdam(coefficients_, values, output, from(momentums_), from(velocities_), count);
  }

  uint64_t Settings() const override {
    uint64_t digest = 1;
    for (float coefficient : {coefficients_.alpha, coefficients_.one_minus_beta1, coefficients_.one_minus_beta2,
                              coefficients_.epsilon}) {
      uint32_t bits;
      std::memcpy(&bits, &coefficient, sizeof(bits));
      digest = common::Mixed(digest, bits);
    }
    return digest;
  }

  // Variables whose memory somebody holds are copied before they are updated.
  void Release() {
    tensor_ = ::tensorflow::Tensor();
    momentums_ = ::tensorflow::Tensor();
    velocities_ = ::tensorflow::Tensor();
  }

private:
  ::tensorflow::Tensor momentums_;
  ::tensorflow::Tensor velocities_;
  common::AdamCoefficients coefficients_;
};

class HorovodGroupedAdamOp : public AsyncOpKernel {
public:
  explicit HorovodGroupedAdamOp(OpKernelConstruction* context) : AsyncOpKernel(context) {
    OP_REQUIRES_OK(context, context->GetAttr("tensor_name", &tensor_name_));
    OP_REQUIRES_OK(context, context->GetAttr("num_tensors", &num_tensors_));
  }

  void ComputeAsync(OpKernelContext* context, DoneCallback done) override {
    OP_REQUIRES_OK_ASYNC(context, ConvertStatus(common::CheckInitialized()), done);
    OP_REQUIRES_ASYNC(context, common::SharedWindows::OfAll(common::horovod_size()) != nullptr,
                      errors::FailedPrecondition("HorovodGroupedAdam: the ranks share no memory."), done);
    auto scalar = [&](int number) { return context->input(4 * num_tensors_ + number).scalar<float>()(); };
    common::AdamCoefficients coefficients(scalar(0), scalar(1), scalar(2), scalar(3), scalar(4), scalar(5));

    std::vector<common::ReadyEventList> ready_events(num_tensors_);
    std::vector<std::shared_ptr<common::OpContext>> contexts;
    std::vector<std::shared_ptr<common::Tensor>> gradients, outputs;
    std::vector<common::StatusCallback> callbacks;
    std::vector<std::string> names;
    auto left = std::make_shared<std::atomic<int>>(num_tensors_);
    for (int i = 0; i < num_tensors_; ++i) {
      auto gradient = context->input(i);
      Tensor weights, momentums, velocities;
      OP_REQUIRES_OK_ASYNC(context, ToUpdate(context, num_tensors_ + i, gradient, &weights), done);
      OP_REQUIRES_OK_ASYNC(context, ToUpdate(context, 2 * num_tensors_ + i, gradient, &momentums), done);
      OP_REQUIRES_OK_ASYNC(context, ToUpdate(context, 3 * num_tensors_ + i, gradient, &velocities), done);
      contexts.push_back(std::make_shared<TFOpContext>(context));
      gradients.push_back(std::make_shared<TFTensor>(gradient));
      auto updated = std::make_shared<AdamUpdatedTensor>(weights, momentums, velocities, coefficients);
      outputs.push_back(updated);
      names.push_back(tensor_name_ + "_" + std::to_string(i + 1) + "of" + std::to_string(num_tensors_));
      callbacks.push_back([context, done, left, updated](const common::Status& status) {
        updated->Release();
        if (!status.ok()) {
          context->SetStatus(ConvertStatus(status));
        }
        if (--*left == 0) {
          SayDoneInAWorker(context, done);
        }
      });
    }
    auto enqueued =
        common::EnqueueTensorAllreduces(contexts, gradients, outputs, ready_events, names, GetDeviceID(context),
                                        callbacks, common::ReduceOp::AVERAGE, 1.0, 1.0, 0);
    OP_REQUIRES_OK_ASYNC(context, ConvertStatus(enqueued), done);
  }

private:
  // The memory of the variable at this input, which nobody else reads then.
  static Status ToUpdate(OpKernelContext* context, int input, const Tensor& like, Tensor* tensor) {
    core::RefCountPtr<Var> variable;
    TF_RETURN_IF_ERROR(LookupResource(context, HandleFromInput(context, input), &variable));
    mutex_lock lock(*variable->mu());
    if (variable->tensor()->dtype() != DT_FLOAT || variable->tensor()->shape() != like.shape()) {
      return errors::InvalidArgument("HorovodGroupedAdam: the gradient of ", variable->DebugString(), " has the shape ",
                                     like.shape().DebugString(), ".");
    }
    TF_RETURN_IF_ERROR((PrepareToUpdateVariable<Eigen::ThreadPoolDevice, float>(
        context, variable->tensor(), variable->copy_on_read_mode.load())));
    *tensor = *variable->tensor();
    return Status();
  }

  std::string tensor_name_;
  int num_tensors_;
};

} // namespace

REGISTER_KERNEL_BUILDER(Name("HorovodGroupedAdam").Device(DEVICE_CPU), HorovodGroupedAdamOp);

REGISTER_OP("HorovodGroupedAdam")
    .Attr("tensor_name: string")
    .Attr("num_tensors: int")
    .Input("gradients: num_tensors * float")
    .Input("variables: num_tensors * resource")
    .Input("momentums: num_tensors * resource")
    .Input("velocities: num_tensors * resource")
    .Input("beta1_power: float")
    .Input("beta2_power: float")
    .Input("lr: float")
    .Input("beta1: float")
    .Input("beta2: float")
    .Input("epsilon: float")
    .SetIsStateful()
    .SetShapeFn(::tensorflow::shape_inference::NoOutputs)
    .Doc(R"doc(
Averages `gradients` over all ranks and updates `variables` by Adam, each element on one rank.
The other arguments are those of ResourceApplyAdam. All ranks must call it, under the same `tensor_name`.
)doc");
