#include "engine/cuda/command_times.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "engine/cuda/memory.h"

namespace piano::cuda {

std::string short_name(const char* mangled) {
  int status = 0;
  char* const demangled = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  std::string name = status == 0 ? demangled : mangled;
  std::free(demangled);
  if (name.rfind("void ", 0) == 0) name.erase(0, 5);
  constexpr std::string_view kAnonymous = "(anonymous namespace)::";
  for (std::size_t at; (at = name.find(kAnonymous)) != std::string::npos;) name.erase(at, kAnonymous.size());
  std::string result, word;
  int depth = 0;  // of <>
  for (const char c : name) {
    if (c == '(' && depth == 0) break;
    if (c == ':') {
      word.clear();  // it was a namespace
    } else if (c == '<' || c == '>' || c == ',' || c == ' ') {
      depth += c == '<' ? 1 : c == '>' ? -1 : 0;
      result += word + c;
      word.clear();
    } else {
      word += c;
    }
  }
  return result + word;
}

std::string name_of(const Command& command) {
  const char* name = nullptr;
  if (command.kernel == nullptr) return command.name;
  return cudaFuncGetName(&name, command.kernel) == cudaSuccess ? short_name(name) : "a kernel";
}

CommandTimes::~CommandTimes() {
  for (const cudaEvent_t event : events_) cudaEventDestroy(event);
}

void CommandTimes::run(std::span<const Command* const> commands, cudaStream_t stream) {
  while (events_.size() <= commands.size()) {
    cudaEvent_t event;
    check(cudaEventCreateWithFlags(&event, cudaEventDefault), "event");
    events_.push_back(event);
  }
  check(cudaEventRecord(events_[0], stream), "event");
  for (std::size_t i = 0; i < commands.size(); ++i) {
    commands[i]->start(commands[i], stream);
    check(cudaEventRecord(events_[i + 1], stream), "event");
  }
  check(cudaStreamSynchronize(stream), "kernels");
  for (std::size_t i = 0; i < commands.size(); ++i) {
    float ms = 0;
    check(cudaEventElapsedTime(&ms, events_[i], events_[i + 1]), "event");
    Sum& sum = sums_[name_of(*commands[i])];
    ++sum.count, sum.seconds += 1e-3 * static_cast<double>(ms);
  }
}

std::vector<DeviceMemory::CommandTime> CommandTimes::all() const {
  std::vector<DeviceMemory::CommandTime> times;
  for (const auto& [name, sum] : sums_) times.push_back({name, sum.count, sum.seconds});
  std::stable_sort(times.begin(), times.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return times;
}

}  // namespace piano::cuda
