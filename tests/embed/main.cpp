// Loads a model and re-ranks the same requests alone, then from four threads in four other orders: the answers must have the same bits.
//   embed model.safetensors
#include <piano/piano.h>

#include <bit>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr std::uint32_t kRequests = 120, kThreads = 4;

// A request that owns what a piano::Request views. Number k always gives the same one.
class OwnedRequest {
 public:
  explicit OwnedRequest(std::uint32_t k) {
    const std::uint32_t history = k % 7, candidates = 1 + k % 23;
    id_ = "r-" + std::to_string(k);
    user_ = "u-" + std::to_string(k % 11);
    query_ = k % 5 == 0 ? "" : k % 2 == 0 ? "workout rock" : "sleep jazz never-seen";
    for (std::uint32_t i = 0; i < history + candidates; ++i) items_.push_back("t-" + std::to_string((k * 31 + i * 17) % 97));

    events_.resize(history);
    for (std::uint32_t i = 0; i < history; ++i) {
      events_[i].time = 1'690'000'000 + i;
      events_[i].query.text = i % 2 == 0 ? "workout" : "sleep";
      events_[i].item = items_[i];
      events_[i].action = "click";
    }
    candidates_.resize(candidates);
    for (std::uint32_t i = 0; i < candidates; ++i) {
      candidates_[i].id = items_[history + i];
      if (k % 3 != 0) candidates_[i].score = 1.0f / static_cast<float>(i + 1);
    }
    request_.id = id_;
    request_.time = 1'690'001'000;
    request_.user = user_;
    request_.query.text = query_;
    request_.has_history = true;
    request_.history = events_;
    request_.candidates = candidates_;
  }
  OwnedRequest(const OwnedRequest&) = delete;
  OwnedRequest& operator=(const OwnedRequest&) = delete;

  const piano::Request& get() const { return request_; }

 private:
  std::string id_, user_, query_;
  std::vector<std::string> items_;
  std::vector<piano::Event> events_;
  std::vector<piano::Candidate> candidates_;
  piano::Request request_;
};

// Every bit of an answer, as text.
std::string bits_of(const piano::Response& response) {
  std::string bits = std::to_string(std::bit_cast<std::uint32_t>(response.list_ctr)) + " " +
                     std::to_string(std::bit_cast<std::uint32_t>(response.list_cvr[0]));
  for (const piano::Ranked& item : response.ranking) {
    bits.append("\n").append(item.id);
    bits += " " + std::to_string(item.rank) + " " + std::to_string(item.from) + " " +
            std::to_string(std::bit_cast<std::uint64_t>(item.score)) + " " + std::to_string(std::bit_cast<std::uint32_t>(item.ctr)) + " " +
            std::to_string(std::bit_cast<std::uint32_t>(item.cvr[0]));
  }
  return bits;
}

int run(const char* path) {
  const auto model = piano::Model::load(path);
  std::vector<std::string> alone(kRequests);
  {
    piano::Session session(model);
    for (std::uint32_t k = 0; k < kRequests; ++k) {
      const OwnedRequest request(k);
      const piano::Response& response = session.rerank(request.get());
      if (response.ranking.size() != request.get().candidates.size()) return 1;
      alone[k] = bits_of(response);
    }
  }

  std::vector<int> differences(kThreads, 0);
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      piano::Session session(model);
      for (std::uint32_t i = 0; i < kRequests; ++i) {
        const std::uint32_t k = (i * 7 + t * 31) % kRequests;  // 7 and 120 have no common factor: every request once
        const OwnedRequest request(k);
        if (bits_of(session.rerank(request.get())) != alone[k]) ++differences[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int total = 0;
  for (const int d : differences) total += d;
  std::printf("%u requests, %u threads, model %s: %d answers differ\n", kRequests, kThreads, model->name().c_str(), total);
  return total == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    piano::Model::load(std::string(argv[1]) + ".missing");
    std::puts("a missing model must be an error");
    return 1;
  } catch (const piano::Error& e) {
    if (e.code() != piano::ErrorCode::io) return 1;
  }
  try {
    return run(argv[1]);
  } catch (const std::exception& e) {
    std::printf("%s\n", e.what());
    return 1;
  }
}
