// The answer to one request, as one JSON line (docs/requests.md). Numbers are the shortest text that reads back as the same number.
#pragma once

#include <string>
#include <string_view>

#include "piano/piano.h"

namespace piano::tools {

// {"id": .., "model": .., "list": {"ctr": .., "cvr": ..}, "ranking": [{"id": .., "rank": .., "from": .., "score": .., "ctr": .., "cvr": ..}]}
// appended to `out` with a line break. A request without an id gets null. Where the model's kinds of conversion have names, "cvr" is an object.
void append_answer(std::string_view request_id, const Model& model, const Response& response, std::string& out);

// {"id": .., "error": {"code": "invalid_request", "message": ..}}
void append_error(std::string_view request_id, std::string_view message, std::string& out);

}  // namespace piano::tools
