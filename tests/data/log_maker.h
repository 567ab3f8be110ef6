// Random logs for tests: owned strings behind the views of a Request, and a file that goes away.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/request.h"
#include "engine/base/random.h"

namespace piano::data::test {

struct OwnedField {
  std::string name;
  std::vector<std::string> values;
};

struct OwnedEvent {
  std::optional<std::int64_t> time;
  std::string query, item, action;
  std::vector<OwnedField> fields;
};

struct OwnedCandidate {
  std::string id;
  std::optional<float> score, value;
  std::vector<OwnedField> fields;
  std::vector<float> dense, vector;
  std::optional<bool> click, conversion;
  std::optional<std::int32_t> position;
};

struct OwnedRequest {
  std::string id;
  std::optional<std::int64_t> time;
  std::string user;
  std::vector<OwnedField> user_fields;
  std::vector<float> user_dense;
  std::string query;
  std::vector<std::string> query_terms;
  std::vector<OwnedField> context;
  bool has_history = false;
  std::vector<OwnedEvent> history;
  std::vector<OwnedCandidate> candidates;
  std::string target;
};

// The views; the owned request must outlive it and stay as it is.
class View {
 public:
  explicit View(const OwnedRequest& r);
  const Request& operator*() const { return request_; }

 private:
  std::span<const std::string_view> texts(const std::vector<std::string>& strings);
  std::span<const Field> fields(const std::vector<OwnedField>& owned);

  std::vector<std::unique_ptr<std::vector<std::string_view>>> texts_;
  std::vector<std::unique_ptr<std::vector<Field>>> fields_;
  std::vector<Event> history_;
  std::vector<Candidate> candidates_;
  Request request_;
};

// A path in the temporary folder, removed at the end.
class TemporaryPath {
 public:
  explicit TemporaryPath(const std::string& name);
  ~TemporaryPath() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }
  std::string bytes() const;

 private:
  std::string path_;
};

struct LogShape {
  int requests = 60, users = 8, items = 30, queries = 10;
  bool explicit_history = false;
  std::string prefix;  // of every string: two prefixes share none
};

// A log with everything in it: missing users, times, queries, fields, labels; several values; unshown candidates. In order of time.
std::vector<OwnedRequest> random_log(RandomStream& random, const LogShape& shape);

}  // namespace piano::data::test
