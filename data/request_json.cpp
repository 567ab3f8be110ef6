#include "data/request_json.h"

#include "data/request_json_fast.h"
#include "data/request_json_strict.h"

namespace piano::data {

struct RequestParser::Impl {
  std::string text;            // the line, and the padding that the fast reader wants
  std::string_view line;
  RequestArrays arrays;
  FastRequestReader fast;
  StrictRequestReader strict;
  bool is_strict = false;      // the strict reader has the line

  const Request& parse() {
    is_strict = !fast.read(line, arrays);
    if (is_strict) {
      strict.parse(line);
      strict.read(arrays);
    }
    return arrays.request;
  }
};

RequestParser::RequestParser() : impl_(std::make_unique<Impl>()) {}
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;

const Request& RequestParser::parse(std::string_view line) {
  impl_->text.assign(line);
  impl_->text.append(JsonScanner::kPadding, '\0');
  impl_->line = std::string_view(impl_->text).substr(0, line.size());
  return impl_->parse();
}

std::string_view RequestParser::last_id() const { return impl_->is_strict ? impl_->strict.id() : impl_->arrays.request.id; }
std::int64_t RequestParser::error_column() const { return impl_->is_strict ? impl_->strict.error_column() : 0; }

std::int64_t RequestParser::column_of(std::string_view message) const {
  if (!impl_->is_strict) impl_->strict.parse(impl_->line);
  impl_->is_strict = true;
  return impl_->strict.column_of(message);
}

}  // namespace piano::data
