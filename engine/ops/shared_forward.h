// A forward pass that several threads walk through together: one request on several cores, for its latency.
//
// While Context::shared is set, ops are noted down and not computed; run() computes them. Every member of the team walks the whole list. Of an
// op that can be cut (Op::cut) each computes its share of the rows, the same share of every matrix with as many rows: what a member reads it
// mostly wrote itself. An op of few rows is one member's. Members meet only before an op that reads what another has written since they last
// met: for an encoder block that is once, before its attention.
//
// The bits are those of one thread: the same kernels on the same rows, cut between whole blocks and tiles of rows.
#pragma once

#include <exception>
#include <memory>
#include <vector>

#include "engine/core/context.h"
#include "engine/core/team.h"

namespace piano {

class SharedForward {
 public:
  explicit SharedForward(int threads);

  void begin();                      // forgets the last pass; the team wakes up
  void add(Node* node);              // run_op does it. requires: the node's inputs are leaves, or outputs of nodes added before
  void run(const Context& context);  // computes all. The outputs may be read only then

  int threads() const { return team_.size(); }
  int meetings() const;              // of the pass noted down: what it costs to share it

 private:
  struct Step {
    Node* node;
    int member;  // who computes it; kAll: each its share of the rows
    bool meet;   // before it
  };
  struct Member {
    Arena scratch;
    double load = 0;  // about the nanoseconds of its own ops since the last meeting
    std::exception_ptr error;
  };
  void walk(Context context, int member);

  Team team_;
  std::vector<Step> steps_;
  std::size_t last_meeting_ = 0;  // its step
  std::vector<std::unique_ptr<Member>> members_;
};

// Computes the rows begin .. end-1 of a node's output, with `context`'s arena for scratch. requires: Op::cut.possible, begin a multiple of
// kRowBlock, end too unless it is the last row
void forward_rows(const Context& context, const Node& node, std::int64_t begin, std::int64_t end);

}  // namespace piano
