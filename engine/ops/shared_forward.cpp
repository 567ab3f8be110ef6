#include "engine/ops/shared_forward.h"

#include <algorithm>
#include <utility>

#include "engine/core/device.h"
#include "engine/ops/op_table.h"

namespace piano {
namespace {

constexpr int kAll = -1, kNobody = -2;

// Rows are shared out by the grain: whole blocks of kRowBlock rows and whole tiles of six (gemm.inl) and of four rows.
constexpr std::int64_t kGrain = 24;
static_assert(kGrain % kRowBlock == 0 && kGrain % 6 == 0 && kGrain % 4 == 0);

// The first row of `member`'s share.
std::int64_t first_row(std::int64_t rows, int member, int members) {
  const std::int64_t grains = (rows + kGrain - 1) / kGrain;
  return std::min(rows, grains * member / members * kGrain);
}

double nanoseconds(const Op& op, const Node& node) {
  const OpCost cost = op.cost(node);
  return 100 + cost.flops / 50 + cost.bytes / 20;
}

bool reads(const Node& node, const TensorRecord* record, std::uint32_t inputs) {
  for (std::int32_t i = 0; i < node.input_count; ++i) {
    if ((inputs >> i & 1) != 0 && node.inputs[i] == record) return true;
  }
  return false;
}

TensorRecord* rows_of(const TensorRecord& whole, std::int64_t begin, std::int64_t end, Arena& arena) {
  auto* part = arena.make<TensorRecord>(whole);
  part->shape = {end - begin, whole.shape.cols()};
  part->value = static_cast<std::byte*>(whole.value) + static_cast<std::size_t>(begin * whole.shape.cols()) * size_of(whole.dtype);
  return part;
}

}  // namespace

void forward_rows(const Context& context, const Node& node, std::int64_t begin, std::int64_t end) {
  const RowCut& cut = op_info(node.op).cut;
  PIANO_ASSERT(cut.possible && begin % kRowBlock == 0, "rows are cut between blocks");
  Node part = node;
  part.output = rows_of(*node.output, begin, end, *context.arena);
  for (std::int32_t i = 0; i < node.input_count; ++i) {
    if ((cut.inputs >> i & 1) != 0) part.inputs[i] = rows_of(*node.inputs[i], begin, end, *context.arena);
  }
  if (cut.args != nullptr) part.args = cut.args(node, begin, end, *context.arena);
  context.device->forward[static_cast<std::size_t>(node.op)](context, part);
}

SharedForward::SharedForward(int threads) : team_(threads) {
  for (int m = 0; m < threads; ++m) members_.push_back(std::make_unique<Member>());
}

void SharedForward::begin() {
  steps_.clear();
  last_meeting_ = 0;
  for (const auto& member : members_) member->load = 0;
  team_.rouse();
}

void SharedForward::add(Node* node) {
  const Op& op = op_info(node->op);
  const bool shared = op.cut.possible && node->output->shape.rows() >= 2 * kGrain;
  int owner = kNobody;  // of the small inputs
  bool meet = false;
  for (std::size_t i = last_meeting_; i < steps_.size() && !meet; ++i) {
    const Step& step = steps_[i];
    const TensorRecord* written = step.node->output;
    if (!reads(*node, written, ~0u)) continue;
    if (shared) {
      meet = step.member != kAll || reads(*node, written, ~op.cut.inputs);  // else its own rows
    } else {
      meet = step.member == kAll || (owner != kNobody && owner != step.member);
      owner = step.member;
    }
  }
  if (meet) {
    last_meeting_ = steps_.size();
    for (const auto& member : members_) member->load = 0;
    owner = kNobody;
  }
  if (shared) {
    owner = kAll;
  } else {
    if (owner == kNobody) {
      const auto idlest = std::min_element(members_.begin(), members_.end(), [](const auto& a, const auto& b) { return a->load < b->load; });
      owner = static_cast<int>(idlest - members_.begin());
    }
    members_[static_cast<std::size_t>(owner)]->load += nanoseconds(op, *node);
  }
  steps_.push_back({node, owner, meet});
}

int SharedForward::meetings() const {
  return static_cast<int>(std::count_if(steps_.begin(), steps_.end(), [](const Step& s) { return s.meet; }));
}

void SharedForward::run(const Context& context) {
  team_.run([&](int member) { walk(context, member); });
  for (const auto& member : members_) {
    if (member->error) std::rethrow_exception(std::exchange(member->error, nullptr));
  }
}

// An exception (there is no memory for scratch) waits until all have come to the end: the others must not wait for ever.
void SharedForward::walk(Context context, int member) {
  Member& self = *members_[static_cast<std::size_t>(member)];
  context.arena = &self.scratch;
  context.shared = nullptr;
  for (const Step& step : steps_) {
    if (step.meet) team_.meet();
    if (step.member != kAll && step.member != member) continue;
    try {
      self.scratch.reset();
      if (step.member == member) {
        context.device->forward[static_cast<std::size_t>(step.node->op)](context, *step.node);
        continue;
      }
      const std::int64_t rows = step.node->output->shape.rows();
      const std::int64_t begin = first_row(rows, member, team_.size()), end = first_row(rows, member + 1, team_.size());
      if (begin < end) forward_rows(context, *step.node, begin, end);
    } catch (...) {
      self.error = std::current_exception();
    }
  }
}

}  // namespace piano
