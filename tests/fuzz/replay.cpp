// Stands in for libFuzzer where there is none: runs a target on every seed, on every seed cut short, and on seeds with one byte changed.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

int runs = 0;

void run(const std::string& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  ++runs;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::size_t kVariants = 200;  // of each seed and kind
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string seed(std::istreambuf_iterator<char>(in), {});
      run(seed);
      const std::size_t step = seed.size() / kVariants + 1;
      for (std::size_t at = 0; at < seed.size(); at += step) {
        run(seed.substr(0, at));
        for (const unsigned flip : {0x01u, 0x80u}) {
          std::string damaged = seed;
          damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ flip);
          run(damaged);
        }
      }
    }
  }
  std::printf("%d inputs, no crash\n", runs);
  return runs > 0 ? 0 : 1;
}
